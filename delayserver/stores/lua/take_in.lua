-- KEYS waiting keys moved dead, the channel; ARGV wake channel, limit of dead letters,
-- then for each: token, on_conflict or 'dead', due, id, key, member -> how many were still there
local waiting, keys, moved, dead, channel = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local before = head(waiting)
local taken = 0
for i = 3, #ARGV, 6 do
  local arrived = still_there(channel, ARGV[i])
  if arrived then
    if ARGV[i + 1] == 'dead' then
      redis.call('ZADD', dead, ARGV[i + 2], ARGV[i + 5])
      redis.call('ZREMRANGEBYRANK', dead, 0, -ARGV[2] - 1)
    else
      put(waiting, keys, moved, ARGV[i + 1], ARGV[i + 2], ARGV[i + 3], ARGV[i + 4], ARGV[i + 5])
    end
    redis.call('ZREM', channel, arrived) -- last: an act that fails midway loses nothing
    taken = taken + 1
  end
end
wake(ARGV[1], waiting, before)
return taken
