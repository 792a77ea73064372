-- ARGV now, then for each: generation member due name -> for each whether it was ours
local held = {}
for i = 2, #ARGV, 4 do
  local member = ARGV[i + 1]
  local ours = holds(ARGV[i], member)
  if ours then
    local id, _, _, key = parse(member)
    hold_back(id, member, tonumber(ARGV[i + 2]), ARGV[i + 3], tonumber(ARGV[1]))
    if key then redis.call('HSETNX', keys, key, id) end
  end
  held[#held + 1] = ours and 1 or 0
end
return held
