-- KEYS channel; ARGV tokens -> how many were still there
local taken = 0
for _, token in ipairs(ARGV) do
  local member = still_there(KEYS[1], token)
  if member then taken = taken + redis.call('ZREM', KEYS[1], member) end
end
return taken
