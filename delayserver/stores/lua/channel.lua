-- What lies on a channel of channels_redis: a sorted set, the time in seconds as score.

-- The member of a channel that a token means, if it is still there. A token is "m" and the member; or, for one too
-- large to fetch, "c" and its score, length and beginning.
local function still_there(channel, token)
  if string.sub(token, 1, 1) == 'm' then
    local member = string.sub(token, 2)
    return redis.call('ZSCORE', channel, member) and member
  end
  local score, length, start = string.match(token, '^c([^ ]+) (%d+) (.*)$')
  for _, member in ipairs(redis.call('ZRANGEBYSCORE', channel, score, score)) do
    if #member == tonumber(length) and string.sub(member, 1, #start) == start then return member end
  end
  return nil
end

-- How many more messages the channel takes; none where its key holds another type.
local function room_on(channel, capacity, expiry, now)
  local expired = redis.pcall('ZREMRANGEBYSCORE', channel, 0, string.format('%.0f', now - expiry))
  if type(expired) == 'table' then return 0 end
  return capacity - redis.call('ZCARD', channel)
end
