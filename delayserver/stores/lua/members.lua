-- KEYS a group of channels_redis; ARGV after how many seconds a member is forgotten -> the channels in it
local now = tonumber(redis.call('TIME')[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], 0, now - tonumber(ARGV[1]))
return redis.call('ZRANGE', KEYS[1], 0, -1)
