-- ARGV limit of dead letters, then for each: generation member at letter
-- -> for each whether it was ours; a member of '' comes from nowhere and is always ours
local held = {}
for i = 2, #ARGV, 4 do
  local member = ARGV[i + 1]
  local ours = member == '' or holds(ARGV[i], member)
  if ours then
    redis.call('ZADD', dead, ARGV[i + 2], ARGV[i + 3])
    if member ~= '' then remove(id_of(member), member) end
  end
  held[#held + 1] = ours and 1 or 0
end
redis.call('ZREMRANGEBYRANK', dead, 0, -ARGV[1] - 1)
return held
