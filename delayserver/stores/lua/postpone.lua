-- ARGV 1 to spend an attempt, then for each: generation, member, due -> for each whether it was ours
local held = {}
for i = 2, #ARGV, 3 do
  local member, due = ARGV[i + 1], ARGV[i + 2]
  local ours = holds(ARGV[i], member)
  if ours then
    local id, _, _, key = parse(member)
    redis.call('ZADD', waiting, due, member)
    move(id, due)
    if key then redis.call('HSETNX', keys, key, id) end
    if ARGV[1] == '1' then redis.call('HINCRBY', attempts, id, 1) end
  end
  held[#held + 1] = ours and 1 or 0
end
return held
