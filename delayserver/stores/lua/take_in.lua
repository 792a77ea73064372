-- KEYS[7] the channel, KEYS[8] who has claimed what on it; ARGV wake channel, now, limit of dead letters,
-- then for each: token, on_conflict or 'dead', due, id, key, spent, member -> how many were still there
local channel = KEYS[7]
local taken, ours = 0, {}
for i = 4, #ARGV, 7 do
  local command = taking_off(channel, ARGV[i])
  if command then
    if ARGV[i + 1] == 'dead' then
      redis.call('ZADD', dead, ARGV[i + 2], ARGV[i + 6])
      redis.call('ZREMRANGEBYRANK', dead, 0, -ARGV[3] - 1)
    else
      put(ARGV[i + 1], ARGV[i + 2], ARGV[i + 3], ARGV[i + 4], ARGV[i + 5], ARGV[i + 6])
      ours[ARGV[i + 6]] = true
    end
    take_off(channel, KEYS[8], command) -- last: an act that fails midway loses nothing
    taken = taken + 1
  end
end
wake(ARGV[1], ours, ARGV[2])
return taken
