-- KEYS[7] the channel; ARGV wake channel, now, limit of dead letters,
-- then for each: token, on_conflict or 'dead', due, id, key, spent, member -> how many were still there
local channel = KEYS[7]
local taken, first = 0, nil
for i = 4, #ARGV, 7 do
  local command = taking_off(channel, ARGV[i])
  if command then
    if ARGV[i + 1] == 'dead' then
      redis.call('ZADD', dead, ARGV[i + 2], ARGV[i + 6])
      redis.call('ZREMRANGEBYRANK', dead, 0, -ARGV[3] - 1)
    else
      local receipt = put(ARGV[i + 1], ARGV[i + 2], ARGV[i + 3], ARGV[i + 4], ARGV[i + 5], ARGV[i + 6])
      if receipt == 1 and (not first or tonumber(ARGV[i + 2]) < tonumber(ARGV[first])) then first = i + 2 end
    end
    redis.call(unpack(command)) -- last: an act that fails midway loses nothing
    taken = taken + 1
  end
end
if first then wake(ARGV[1], ARGV[first + 4], taken, ARGV[2]) end
return taken
