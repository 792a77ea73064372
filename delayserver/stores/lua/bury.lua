-- ARGV limit of dead letters, then for each: generation member at id letter
-- -> for each whether it was ours; a member of '' comes from nowhere and is always ours
local held = {}
for i = 2, #ARGV, 5 do
  local member = ARGV[i + 1]
  local ours = member == '' or holds(ARGV[i], member)
  if ours then
    bury(ARGV[i + 2], ARGV[i + 3], ARGV[i + 4])
    if member ~= '' then remove(id_of(member), member) end
  end
  held[#held + 1] = ours and 1 or 0
end
keep_newest(ARGV[1])
return held
