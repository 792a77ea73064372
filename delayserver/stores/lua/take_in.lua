-- KEYS[8] the channel, KEYS[9] who has claimed what on it; ARGV wake channel, now, limit of dead letters,
-- then for each: token, 'put' or 'dead', due, id, keyed, spent, member -> how many were still there
local channel = KEYS[8]
local taken, ours = 0, {}
for i = 4, #ARGV, 7 do
  local command = taking_off(channel, ARGV[i])
  if command then
    if ARGV[i + 1] == 'dead' then
      bury(ARGV[i + 2], ARGV[i + 3], ARGV[i + 6])
      keep_newest(ARGV[3])
    else
      put(ARGV[i + 2], ARGV[i + 3], ARGV[i + 4], ARGV[i + 5], ARGV[i + 6], ARGV[2])
      ours[ARGV[i + 6]] = true
    end
    take_off(channel, KEYS[9], command) -- last: an act that fails midway loses nothing
    taken = taken + 1
  end
end
wake(ARGV[1], ours, ARGV[2])
return taken
