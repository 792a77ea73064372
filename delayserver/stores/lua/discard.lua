-- KEYS channel, taking; ARGV tokens -> how many were still there
local taken = 0
for _, token in ipairs(ARGV) do
  local command = taking_off(KEYS[1], token)
  if command then
    taken = taken + redis.call(unpack(command))
    if command[1] == 'ZREM' then redis.call('HDEL', KEYS[2], redis.sha1hex(command[3])) end
  end
end
return taken
