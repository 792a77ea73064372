-- KEYS channel; ARGV limit, most bytes of one message, how much of a larger one to show, most bytes in all
-- -> {score, length, member or its beginning} ... oldest first
local most, show, budget = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local found, at = {}, 0
while at < tonumber(ARGV[1]) and budget > 0 do
  local one = redis.call('ZRANGE', KEYS[1], at, at, 'WITHSCORES')
  local member = one[1]
  if not member then break end
  local length = #member
  if length > most then member = string.sub(member, 1, show) end
  budget = budget - #member
  at = at + 1
  found[at] = {one[2], length, member}
end
return found
