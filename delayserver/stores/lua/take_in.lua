-- KEYS[6] the channel; ARGV wake channel, limit of dead letters,
-- then for each: token, on_conflict or 'dead', due, id, key, spent, member -> how many were still there
local channel = KEYS[6]
local before = head()
local taken = 0
for i = 3, #ARGV, 7 do
  local command = taking_off(channel, ARGV[i])
  if command then
    if ARGV[i + 1] == 'dead' then
      redis.call('ZADD', dead, ARGV[i + 2], ARGV[i + 6])
      redis.call('ZREMRANGEBYRANK', dead, 0, -ARGV[2] - 1)
    else
      put(ARGV[i + 1], ARGV[i + 2], ARGV[i + 3], ARGV[i + 4], ARGV[i + 5], ARGV[i + 6])
    end
    redis.call(unpack(command)) -- last: an act that fails midway loses nothing
    taken = taken + 1
  end
end
wake(ARGV[1], before)
return taken
