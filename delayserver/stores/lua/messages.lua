-- A message lies in the sorted set `waiting` as one member, due instant (ms) as its score:
--   id     "\0" and 16 bytes, or a length byte and that many
--   flags  1: a group; 2: has a key; 4: has options
--   name   length byte, the target's name
--   key    two length bytes, the key             (flag 2)
--   opts   two length bytes, msgpack             (flag 4)
--   body   the content, msgpack
-- The member of a message never changes; what does, and most messages do not have, stands beside it: `keys` maps a key to
-- the id that holds it, `moved` an id to its score where that is not the due instant in the id, `attempts` an id to how
-- many attempts are spent. A claim's score has a fraction, which is no other claim's; `moved` has it where the id tells no
-- instant, so that such an id stands there as long as its message is here.
-- A backlog is a range of scores far behind all others, in due order: its slot times SLOT, and the due instant. `backlogs`
-- maps its name to its slot. `dead` has the ids of dead letters by when they died, `letters` their bytes.
local waiting, keys, moved, attempts, dead, backlogs = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local letters = KEYS[7]
local PORTION, SMALL = 25, 4096 -- messages read at a time, where they are of so few bytes
local SLOT, LAST_SLOT = 8796093022208, 1023 -- 2^43 ms lie in the year 2248; a double holds 1023 of them and every ms

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

local slots, names_by_slot = nil, {}

local function slots_by_name()
  if slots then return slots end
  slots = {}
  local entries = redis.call('HGETALL', backlogs)
  for i = 1, #entries, 2 do
    local slot = tonumber(entries[i + 1])
    slots[entries[i]], names_by_slot[slot] = slot, entries[i]
  end
  return slots
end

local free_slot = 1 -- none below it is free

-- The slot of the backlog of this name; nil when all slots are taken.
local function open_backlog(name)
  if slots_by_name()[name] then return slots[name] end
  while names_by_slot[free_slot] do free_slot = free_slot + 1 end
  if free_slot > LAST_SLOT then return nil end
  redis.call('HSET', backlogs, name, free_slot)
  slots[name], names_by_slot[free_slot] = free_slot, name
  return free_slot
end

-- Forget the backlog if nothing is left in it. Answers whether something is.
local function keep_backlog(name)
  local first, after = text(slots[name] * SLOT), text((slots[name] + 1) * SLOT)
  if redis.call('ZCOUNT', waiting, first, '(' .. after) > 0 then return true end
  redis.call('HDEL', backlogs, name)
  free_slot = math.min(free_slot, slots[name])
  names_by_slot[slots[name]], slots[name] = nil, nil
  return false
end

-- The name of the backlog this target has to wait in; nil if it may go out.
local function backlog_of(flags, name)
  local by_name = slots_by_name()
  if not next(by_name) then return nil end
  if flags % 2 == 1 then name = '*' .. name end
  if by_name[name] then return name end
  local bang = string.find(name, '!', 1, true)
  local shared = bang and string.sub(name, 1, bang)
  return by_name[shared] and shared
end

-- Whether some bytes sort before others, as Redis has it: Lua's own order is the locale's.
local function sorts_before(these, others)
  local shorter, first = math.min(#these, #others), 1
  while first + 7 <= shorter and string.sub(these, first, first + 7) == string.sub(others, first, first + 7) do
    first = first + 8 -- ids of ours begin alike, and byte by byte takes long
  end
  for i = first, shorter do
    local one, other = string.byte(these, i), string.byte(others, i)
    if one ~= other then return one < other end
  end
  return #these < #others
end

local copied = 0 -- bytes of members that were read to find others

-- How many members of a sorted set stand before where one of this score, that begins with these bytes, begins.
local function rank_of(set, score, bytes)
  local low = redis.call('ZCOUNT', set, '-inf', '(' .. score)
  local high = low + redis.call('ZCOUNT', set, score, score)
  while low < high do
    local middle = math.floor((low + high) / 2)
    local there = redis.call('ZRANGE', set, middle, middle)[1]
    copied = copied + #there
    if sorts_before(there, bytes) then low = middle + 1 else high = middle end
  end
  return low
end

local function is_of(member, id)
  return string.sub(member or '', 1, #id) == id
end

-- The member of this id at this score. Most often no other has it.
local function find_at(id, score)
  local found = redis.call('ZRANGEBYSCORE', waiting, text(score), text(score), 'LIMIT', 0, 2)
  copied = copied + #(found[1] or '') + #(found[2] or '')
  if #found == 2 then
    local rank = rank_of(waiting, text(score), id)
    found = redis.call('ZRANGE', waiting, rank, rank, 'WITHSCORES')
    copied = copied + #(found[1] or '')
    if tonumber(found[2]) ~= score then return nil end
  end
  return is_of(found[1], id) and found[1] or nil
end

-- The waiting message of this id, its due instant, and the backlog it is in, if any.
local function find(id)
  local score = tonumber(redis.call('HGET', moved, id) or due_of(id))
  local member = score and score % 1 == 0 and find_at(id, score) -- with a fraction it is claimed
  if not member then return nil end
  if score < SLOT then return member, score end
  slots_by_name()
  return member, score % SLOT, names_by_slot[math.floor(score / SLOT)]
end

-- The present in ms; tests say their own, all others 0.
local function present(now)
  if tonumber(now) > 0 then return tonumber(now) end
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- The options of a message that has some, which stand at a place in it, and where its body begins; nil where they are none:
--   {key, expires, retry, 0, schedule, scheduled_for}, each as `Waiting` has it, or nil
local function options_of(member, at)
  local high, low = string.byte(member, at, at + 1)
  if not low then return nil end
  local start = at + 2 + high * 256 + low
  local ok, options = pcall(cmsgpack.unpack, string.sub(member, at + 2, start - 1))
  if not ok or type(options) ~= 'table' then return nil end
  return options, start
end

-- Whether a message shall no longer be handed over.
local function expired(member, now)
  local ok, _, flags, _, _, at = pcall(parse, member)
  local options = ok and flags >= 4 and options_of(member, at)
  local expires = options and tonumber(options[2])
  return expires and expires < present(now)
end

local function free_key(key, id)
  if key and redis.call('HGET', keys, key) == id then redis.call('HDEL', keys, key) end
end

-- Most often neither hash exists, and a message costs no look at them.
local there = {}
local function exists(hash)
  if there[hash] == nil then there[hash] = redis.call('EXISTS', hash) == 1 end
  return there[hash]
end

local function forget_moved(id)
  if exists(moved) then redis.call('HDEL', moved, id) end
end

-- Remember the score, where the id does not tell it.
local function move(id, score)
  if tonumber(score) == due_of(id) then return forget_moved(id) end
  redis.call('HSET', moved, id, score)
  there[moved] = true
end

-- Whether a message whose id tells no instant is here, waiting or claimed.
local function is_known(id)
  return not due_of(id) and redis.call('HEXISTS', moved, id) == 1
end

-- Waiting or claimed -> gone, with all that stands beside it but its key.
local function remove(id, member)
  redis.call('ZREM', waiting, member)
  forget_moved(id)
  if exists(attempts) then redis.call('HDEL', attempts, id) end
end

-- Due -> claimed until the score `lease_end`. Answers how many attempts are spent.
local function claim(ok, id, key, member, lease_end)
  redis.call('ZADD', waiting, lease_end, member)
  if not ok then return 0 end
  free_key(key, id)
  if due_of(id) then forget_moved(id) else move(id, lease_end) end
  return exists(attempts) and redis.call('HGET', attempts, id) or 0
end

-- Waiting or claimed -> in the backlog of this name. Where no slot is free it is due again soon.
local function hold_back(id, member, due, name, now)
  local slot = open_backlog(name)
  due = slot and math.max(0, due) or now + 100
  local score = text((slot or 0) * SLOT + due)
  redis.call('ZADD', waiting, score, member)
  move(id, score)
end

-- Nowhere -> waiting. Answers 1, or {id, due} of the message that has the key and was kept. What is there already was put
-- before, and the answer was lost. Before the key stands what to do where it is taken: k(eep), r(eplace) or e(rror).
local function put(due, id, keyed, spent, member, now)
  local told = tonumber(due) == due_of(id)
  if not told and redis.call('HEXISTS', moved, id) == 1 then return 1 end -- its bytes may differ: sealed anew
  if keyed ~= '' then
    if redis.call('ZSCORE', waiting, member) then return 1 end
    local policy, key = string.sub(keyed, 1, 1), string.sub(keyed, 2)
    local held = redis.call('HGET', keys, key)
    local old, old_due, backlog = nil, nil, nil
    if held then old, old_due, backlog = find(held) end
    if old and expired(old, now) then old, backlog = nil, nil end -- it stays, for a server to drop and count
    if old and policy ~= 'r' then return {held, text(old_due)} end
    if old then remove(held, old) end
    if backlog then keep_backlog(backlog) end
    redis.call('HSET', keys, key, id)
  end
  if redis.call('ZADD', waiting, 'NX', due, member) == 0 then return 1 end
  if not told then move(id, due) end
  if spent ~= '0' then
    redis.call('HSET', attempts, id, spent)
    there[attempts] = true
  end
  return 1
end

-- Tell the servers, if what is first now is one of `ours`; or if something is overdue, for then they may not know of it. A
-- user without the right to publish still stores: servers look now and then.
local function wake(channel, ours, now)
  local first = redis.call('ZRANGE', waiting, 0, 0)[1]
  if first and (ours[first] or redis.call('ZCOUNT', waiting, '-inf', present(now)) > 0) then
    redis.pcall('PUBLISH', channel, '')
  end
end

local function holds(generation, member)
  local score = redis.call('ZSCORE', waiting, member)
  return score and tonumber(score) == tonumber(generation)
end
