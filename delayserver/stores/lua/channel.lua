-- What lies on a channel of channels_redis: a sorted set, the time in seconds as score.

-- The command that takes off a channel what a token means; nil if that is no longer there. A token is "m" and the member;
-- or, for one too large to fetch, "c" and its score, length and beginning. Such a one is not fetched here either, where its
-- score is enough to tell it: to copy 100 MB holds everyone up.
local function taking_off(channel, token)
  if string.sub(token, 1, 1) == 'm' then
    local member = string.sub(token, 2)
    return redis.call('ZSCORE', channel, member) and {'ZREM', channel, member}
  end
  local score, length, start = string.match(token, '^c([^ ]+) (%d+) (.*)$')
  local alike = redis.call('ZCOUNT', channel, score, score)
  local bytes = alike == 1 and redis.pcall('MEMORY', 'USAGE', channel, 'SAMPLES', 0)
  if type(bytes) == 'number' and bytes >= tonumber(length) then
    return {'ZREMRANGEBYSCORE', channel, score, score}
  end
  for _, member in ipairs(redis.call('ZRANGEBYSCORE', channel, score, score)) do
    if #member == tonumber(length) and string.sub(member, 1, #start) == start then return {'ZREM', channel, member} end
  end
  return nil
end

-- Runs such a command. `taking` maps a member's digest to who claimed it.
local function take_off(channel, taking, command)
  local taken = redis.call(unpack(command))
  if command[1] == 'ZREM' then redis.call('HDEL', taking, redis.sha1hex(command[3])) end
  return taken
end

-- How many more messages the channel takes; none where its key holds another type.
local function room_on(channel, capacity, expiry, now)
  local expired = redis.pcall('ZREMRANGEBYSCORE', channel, 0, string.format('%.0f', now - expiry))
  if type(expired) == 'table' then return 0 end
  return capacity - redis.call('ZCARD', channel)
end
