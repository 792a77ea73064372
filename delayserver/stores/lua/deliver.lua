-- ARGV expiry, then for each: channel key, capacity, member, until when (ms)
-- -> for each 1: it is there, 0: the channel is full, -1: its time is over: the sender was stopped meanwhile, and it has
-- expired, or somebody else may have sent it
local time = redis.call('TIME')
local seconds = tonumber(time[1]) + tonumber(time[2]) / 1000000
local expiry = tonumber(ARGV[1])
local room, outcomes = {}, {}

local function outcome_of(channel, capacity, member, till)
  if seconds * 1000 >= tonumber(till) then return -1 end
  room[channel] = room[channel] or room_on(channel, tonumber(capacity), expiry, tonumber(time[1]))
  if room[channel] <= 0 then return 0 end
  room[channel] = room[channel] - 1
  redis.call('ZADD', channel, string.format('%.6f', seconds + #outcomes / 1000000), member)
  redis.call('EXPIRE', channel, expiry)
  return 1
end

for i = 2, #ARGV, 4 do
  outcomes[#outcomes + 1] = outcome_of(ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3])
end
return outcomes
