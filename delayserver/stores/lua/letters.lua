-- A dead letter lies in two fields, so that a list reads no more than it shows.
local HEAD = 8192 -- bytes

local function bury(at, id, bytes)
  redis.call('ZADD', dead, at, id)
  redis.call('HSET', letters, 'head ' .. id, string.sub(bytes, 1, HEAD))
  redis.call('HDEL', letters, 'rest ' .. id)
  if #bytes > HEAD then redis.call('HSET', letters, 'rest ' .. id, string.sub(bytes, HEAD + 1)) end
end

local function exhume(id)
  local there = redis.call('ZREM', dead, id)
  return redis.call('HDEL', letters, 'head ' .. id, 'rest ' .. id) > 0 or there == 1
end

local function keep_newest(limit)
  for _, id in ipairs(redis.call('ZRANGE', dead, 0, -limit - 1)) do exhume(id) end
end
