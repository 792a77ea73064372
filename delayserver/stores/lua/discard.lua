-- KEYS channel, taking; ARGV tokens -> how many were still there
local taken = 0
for _, token in ipairs(ARGV) do
  local command = taking_off(KEYS[1], token)
  if command then taken = taken + take_off(KEYS[1], KEYS[2], command) end
end
return taken
