-- ARGV for each: generation member -> for each whether it was ours
local held = {}
for i = 1, #ARGV, 2 do
  local ours = holds(ARGV[i], ARGV[i + 1])
  if ours then remove(id_of(ARGV[i + 1]), ARGV[i + 1]) end
  held[#held + 1] = ours and 1 or 0
end
return held
