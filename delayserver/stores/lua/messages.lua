-- A message lies in the sorted set `waiting` as one member, due instant (ms) as its score:
--   id     "\0" and 16 bytes, or a length byte and that many
--   flags  1: a group; 2: has a key; 4: has options
--   name   length byte, the target's name
--   key    two length bytes, the key             (flag 2)
--   opts   two length bytes, msgpack             (flag 4)
--   body   the content, msgpack
-- The member of a message never changes; what does, and most messages do not have, stands beside it: `keys` maps a key to
-- the id that holds it, `moved` an id to its due instant where that is not the one in the id, `attempts` an id to how
-- many attempts are spent. A claim's score has a fraction, which is no other claim's.
local waiting, keys, moved, attempts, dead = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]

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
local function find(id)
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

local function free_key(key, id)
  if key and redis.call('HGET', keys, key) == id then redis.call('HDEL', keys, key) end
end

-- Most often neither hash exists, and a message costs no look at them.
local any_moved = redis.call('EXISTS', moved) == 1
local any_attempts = redis.call('EXISTS', attempts) == 1

local function forget_moved(id)
  if any_moved then redis.call('HDEL', moved, id) end
end

local function move(id, due)
  redis.call('HSET', moved, id, due)
  any_moved = true
end

-- Waiting or claimed -> gone, with all that stands beside it but its key.
local function remove(id, member)
  redis.call('ZREM', waiting, member)
  forget_moved(id)
  if any_attempts then redis.call('HDEL', attempts, id) end
end

-- Due -> claimed until the score `lease_end`. Answers how many attempts are spent.
local function claim(ok, id, key, member, lease_end)
  redis.call('ZADD', waiting, lease_end, member)
  if not ok then return 0 end
  free_key(key, id)
  forget_moved(id)
  return any_attempts and redis.call('HGET', attempts, id) or 0
end

-- Nowhere -> waiting. Answers {created, id, due}. What is there already was put before, and the answer was lost.
local function put(on_conflict, due, id, key, spent, member)
  if key ~= '' then
    if redis.call('ZSCORE', waiting, member) then return {1, id, due} end
    local held = redis.call('HGET', keys, key)
    local old, old_due = nil, nil
    if held then old, old_due = find(held) end
    if old and on_conflict ~= 'replace' then return {0, held, text(old_due)} end
    if old then remove(held, old) end
    redis.call('HSET', keys, key, id)
  end
  if redis.call('ZADD', waiting, 'NX', due, member) == 0 then return {1, id, due} end
  if tonumber(due) ~= due_of(id) then move(id, due) end
  if spent ~= '0' then redis.call('HSET', attempts, id, spent) end
  return {1, id, due}
end

local function head()
  local first = redis.call('ZRANGE', waiting, 0, 0, 'WITHSCORES')
  return first[2] and tonumber(first[2])
end

-- Tell the servers, if what waits first is due earlier than it was; or overdue, for then they may not know of it.
local function wake(channel, before)
  local after = head()
  if not after then return end
  local time = redis.call('TIME')
  local now = tonumber(time[1]) * 1000 + tonumber(time[2]) / 1000
  -- A user without the right to publish still stores: servers look now and then.
  if not before or after < before or before <= now then redis.pcall('PUBLISH', channel, text(after)) end
end

local function holds(generation, member)
  local score = redis.call('ZSCORE', waiting, member)
  return score and tonumber(score) == tonumber(generation)
end
