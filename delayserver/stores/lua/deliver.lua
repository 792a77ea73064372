-- ARGV expiry, until when (ms), then for each: channel key, capacity, member
-- -> for each 1: it is there, 0: the channel is full; nothing at all where the time is over: the sender was stopped meanwhile,
-- and somebody else may have sent it
local time = redis.call('TIME')
local seconds = tonumber(time[1]) + tonumber(time[2]) / 1000000
local expiry = tonumber(ARGV[1])
local room, outcomes = {}, {}
if seconds * 1000 > tonumber(ARGV[2]) then return outcomes end
for i = 3, #ARGV, 3 do
  local channel = ARGV[i]
  room[channel] = room[channel] or room_on(channel, tonumber(ARGV[i + 1]), expiry, tonumber(time[1]))
  local there = room[channel] > 0
  if there then
    redis.call('ZADD', channel, string.format('%.6f', seconds + i / 1000000), ARGV[i + 2])
    redis.call('EXPIRE', channel, expiry)
    room[channel] = room[channel] - 1
  end
  outcomes[#outcomes + 1] = there and 1 or 0
end
return outcomes
