-- ARGV expiry, then for each: generation, member, channel key, capacity, the member to put there,
-- when it is due again with an attempt spent, or '', and when it expires (ms), or ''
-- -> for each 1: it is there, 0: the channel is full, -1: the claim is no longer ours, 2: it has expired and is gone
local time = redis.call('TIME')
local seconds = tonumber(time[1]) + tonumber(time[2]) / 1000000
local expiry = tonumber(ARGV[1])
local now = math.floor(seconds * 1000)
local room, outcomes = {}, {}

local function outcome_of(i)
  local member, channel, again, expires = ARGV[i + 1], ARGV[i + 2], ARGV[i + 5], tonumber(ARGV[i + 6])
  if not holds(ARGV[i], member) then return -1 end
  if expires and expires < now then
    remove(id_of(member), member)
    return 2
  end
  room[channel] = room[channel] or room_on(channel, tonumber(ARGV[i + 3]), expiry, tonumber(time[1]))
  if room[channel] <= 0 then return 0 end
  room[channel] = room[channel] - 1
  redis.call('ZADD', channel, string.format('%.6f', seconds + #outcomes / 1000000), ARGV[i + 4])
  redis.call('EXPIRE', channel, expiry)
  if again == '' then
    remove(id_of(member), member)
  else
    due_again(id_of(member), member, again)
  end
  return 1
end

for i = 2, #ARGV, 7 do outcomes[#outcomes + 1] = outcome_of(i) end
return outcomes
