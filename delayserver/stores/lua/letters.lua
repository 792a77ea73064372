-- Keep dead letters: `limit` of them, the newest; at, id and bytes of each.
local function bury(at, id, bytes)
  redis.call('ZADD', dead, at, id)
  redis.call('HSET', letters, id, bytes)
end

local function keep_newest(limit)
  for _, id in ipairs(redis.call('ZRANGE', dead, 0, -limit - 1)) do
    redis.call('ZREM', dead, id)
    redis.call('HDEL', letters, id)
  end
end

local function exhume(id)
  redis.call('ZREM', dead, id)
  return redis.call('HDEL', letters, id) == 1
end
