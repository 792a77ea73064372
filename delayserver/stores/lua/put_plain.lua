-- KEYS waiting; ARGV wake channel, now, the earliest due instant, then for each message: due member
-- As put.lua, for messages that nothing stands beside: no key, no attempt spent, due when the id says. It takes a third of
-- the time. It wakes the servers where nothing is earlier, or something is overdue.
local waiting = KEYS[1]
local is_first = redis.call('ZCOUNT', waiting, '-inf', '(' .. ARGV[3]) == 0
redis.call('ZADD', waiting, 'NX', unpack(ARGV, 4))
if is_first or redis.call('ZCOUNT', waiting, '-inf', ARGV[2]) > 0 then redis.pcall('PUBLISH', ARGV[1], '') end
