-- KEYS waiting keys moved; ARGV for each: generation, member, member as it shall be, due -> for each whether it was ours
local waiting, keys, moved = KEYS[1], KEYS[2], KEYS[3]
local held = {}
for i = 1, #ARGV, 4 do
  local old, new, due = ARGV[i + 1], ARGV[i + 2], ARGV[i + 3]
  local ours = holds(waiting, ARGV[i], old)
  if ours then
    local id, _, _, key = parse(new)
    redis.call('ZADD', waiting, due, new)
    if old ~= new then redis.call('ZREM', waiting, old) end
    redis.call('HSET', moved, id, due)
    if key then redis.call('HSETNX', keys, key, id) end
  end
  held[#held + 1] = ours and 1 or 0
end
return held
