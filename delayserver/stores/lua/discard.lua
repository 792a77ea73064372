-- KEYS channel, taking; ARGV tokens -> how many were still there
local taken = 0
for _, token in ipairs(ARGV) do
  local member = still_there(KEYS[1], token)
  if member then
    taken = taken + redis.call('ZREM', KEYS[1], member)
    redis.call('HDEL', KEYS[2], redis.sha1hex(member))
  end
end
return taken
