-- KEYS waiting; ARGV wake channel, now, the earliest due instant, then for each message: due member
-- As put.lua, for messages that nothing stands beside: no key, no attempt spent, due when the id says. It takes a third of
-- the time.
local first = redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')[2]
redis.call('ZADD', KEYS[1], 'NX', unpack(ARGV, 4))
first = tonumber(first or ARGV[3])
if first >= tonumber(ARGV[3]) or first <= tonumber(ARGV[2]) then redis.pcall('PUBLISH', ARGV[1], '') end
