-- KEYS channel, taking; ARGV limit, most bytes of one message, how much of a larger one to show, most bytes in all,
-- who asks, and for how many milliseconds what it is shown is its own; 0: nobody's
-- -> {the time in ms, {{score, length, member or its beginning} ... oldest first, without what another has claimed}}
-- `taking` maps a member's digest to who claimed it and until when. It is for stores elsewhere: what is stored there first
-- and removed here then must not be stored by two.
local most, show, budget = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local me, lease = ARGV[5], tonumber(ARGV[6])
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)

local function is_free(member)
  if lease == 0 then return true end
  local digest = redis.sha1hex(member)
  local owner, till = string.match(redis.call('HGET', KEYS[2], digest) or '', '^(%S+) (%d+)$')
  if owner and owner ~= me and tonumber(till) > now then return false end
  redis.call('HSET', KEYS[2], digest, me .. ' ' .. string.format('%.0f', now + lease))
  redis.call('PEXPIRE', KEYS[2], lease)
  return true
end

local found, at = {}, 0
while #found < tonumber(ARGV[1]) and at < 10 * tonumber(ARGV[1]) and budget > 0 do
  local one = redis.call('ZRANGE', KEYS[1], at, at, 'WITHSCORES')
  local member = one[1]
  if not member then break end
  at = at + 1
  if is_free(member) then
    local length = #member
    if length > most then member = string.sub(member, 1, show) end
    budget = budget - #member
    found[#found + 1] = {one[2], length, member}
  end
end
return {now, found}
