-- ARGV score and id to begin behind, most to count, most bytes to read
-- -> {{score, id} to go on behind or {}, {kind, name, waiting, held back, claimed, first due or '' ...}}
local tallies = {}

local rest = walk(ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]), function(_, score, _, flags, name)
  local target = (flags % 2 == 1 and '*' or '') .. name
  local tally = tallies[target] or {0, 0, 0, false}
  local due = tonumber(score)
  local which = due % 1 > 0 and 3 or due >= SLOT and 2 or 1
  tally[which] = tally[which] + 1
  if which < 3 then tally[4] = math.min(tally[4] or due % SLOT, due % SLOT) end
  tallies[target] = tally
end)

local told = {}
for target, tally in pairs(tallies) do
  told[#told + 1] = {target, tally[1], tally[2], tally[3], tally[4] and text(tally[4]) or ''}
end
return {rest, told}
