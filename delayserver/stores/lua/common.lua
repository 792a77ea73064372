-- A message lies in the sorted set `waiting` as one member, due instant (ms) as its score:
--   id     "\0" and 16 bytes, or a length byte and that many
--   flags  1: a group; 2: has a key; 4: has options
--   name   length byte, the target's name
--   key    two length bytes, the key             (flag 2)
--   opts   two length bytes, msgpack             (flag 4)
--   body   the content, msgpack
-- `keys` maps a key to the id that holds it. `moved` maps an id to its due instant where that is not the one in the id.

local function id_of(member)
  local length = string.byte(member, 1)
  return string.sub(member, 1, length == 0 and 17 or length + 1)
end

-- Raises an error for what is no message: a raw writer can put anything here.
local function parse(member)
  local id = id_of(member)
  local at = #id + 1
  local flags, length = string.byte(member, at, at + 1)
  local name = string.sub(member, at + 2, at + 1 + length)
  at = at + 2 + length
  local key = nil
  if flags % 4 >= 2 then
    local high, low = string.byte(member, at, at + 1)
    length = high * 256 + low
    key = string.sub(member, at + 2, at + 1 + length)
    at = at + 2 + length
  end
  assert(at <= #member, 'too short')
  return id, flags, name, key, at
end

-- The due instant that an id of ours carries in its first six bytes.
local function due_of(id)
  if string.byte(id, 1) ~= 0 then return nil end
  local a, b, c, d, e, f = string.byte(id, 2, 7)
  return ((((a * 256 + b) * 256 + c) * 256 + d) * 256 + e) * 256 + f
end

local function text(number)
  return string.format('%.0f', number)
end

-- The waiting message of this id and its due instant. An id alone, as a member, sorts right before its message:
-- put it there for a moment to learn the rank.
local function find(waiting, moved, id)
  local due = redis.call('HGET', moved, id) or due_of(id)
  if not due then return nil end
  due = tonumber(due)
  redis.call('ZADD', waiting, text(due), id)
  local rank = redis.call('ZRANK', waiting, id)
  redis.call('ZREM', waiting, id)
  local found = redis.call('ZRANGE', waiting, rank, rank, 'WITHSCORES')
  if found[1] and string.sub(found[1], 1, #id) == id and tonumber(found[2]) == due then
    return found[1], due
  end
  return nil
end

local function free_key(keys, key, id)
  if key and redis.call('HGET', keys, key) == id then redis.call('HDEL', keys, key) end
end

-- Nowhere -> waiting. Answers {created, id, due}. What is there already was put before, and the answer was lost.
local function put(waiting, keys, moved, on_conflict, due, id, key, member)
  if redis.call('ZADD', waiting, 'NX', due, member) == 0 then return {1, id, due} end
  if key ~= '' then
    local held = redis.call('HGET', keys, key)
    local old, old_due = nil, nil
    if held then old, old_due = find(waiting, moved, held) end
    if old and on_conflict ~= 'replace' then
      redis.call('ZREM', waiting, member)
      return {0, held, text(old_due)}
    end
    if old then
      redis.call('ZREM', waiting, old)
      redis.call('HDEL', moved, held)
    end
    redis.call('HSET', keys, key, id)
  end
  if tonumber(due) ~= due_of(id) then redis.call('HSET', moved, id, due) end
  return {1, id, due}
end

local function head(waiting)
  local first = redis.call('ZRANGE', waiting, 0, 0, 'WITHSCORES')
  return first[2] and tonumber(first[2])
end

-- Tell the servers, if what waits first is due earlier than it was.
local function wake(channel, waiting, before)
  local after = head(waiting)
  if after and (not before or after < before) then redis.call('PUBLISH', channel, text(after)) end
end

local function holds(waiting, generation, member)
  local score = redis.call('ZSCORE', waiting, member)
  return score and tonumber(score) == tonumber(generation)
end

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
  local expired = redis.pcall('ZREMRANGEBYSCORE', channel, 0, text(now - expiry))
  if type(expired) == 'table' then return 0 end
  return capacity - redis.call('ZCARD', channel)
end
