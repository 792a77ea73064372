-- ARGV now, limit, most bytes, end of the lease, prefix expiry capacity random_bytes all_here,
-- then the names of the backlogs to take from
-- -> {handed over, {{member, due, attempts spent}, ...} of what is only claimed, {backlog, how many went out, ...},
-- when the next is due or ''}. How many went out is -1 for a backlog that was not looked at.
-- A plain message for a channel goes straight onto it, in the format of channels_redis, and is gone from `waiting`:
-- one act. So does a schedule's occurrence. So does one with retry, which stays and is due again at its ack timeout. What is
-- for a group, is out of attempts, or has other options, is claimed. What meets a full channel goes into its backlog.
local limit, budget, lease_end = tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4]
local prefix, expiry, capacity, random_bytes = ARGV[5], tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8])
local all_here = ARGV[9] == '1' -- whether every specific channel lies on this server
local room, claims, handed, went_out = {}, {}, 0, {}
local only_claimed = {} -- channels for which something was only claimed: what follows must not overtake it
local time = redis.call('TIME')
local seconds = tonumber(time[1]) + tonumber(time[2]) / 1000000
local now = math.min(tonumber(ARGV[1]), math.floor(seconds * 1000)) -- should the clock have been set back: never early

-- The body with one more pair of key and value; nil where its map header is not the short one.
local function with(body, pair)
  local header = string.byte(body, 1)
  if header < 0x80 or header > 0x8e then return nil end
  return string.char(header + 1) .. string.sub(body, 2) .. pair
end

-- The body with {"__asgi_channel__": name} added.
local function addressed(body, name)
  return with(body, '\176__asgi_channel__\217' .. string.char(#name) .. name)
end

local HEX = string.rep('%02x', 16)

-- How an id is written in `__delay__`.
local function written(id)
  return string.byte(id, 1) == 0 and string.format(HEX, string.byte(id, 2, 17)) or string.sub(id, 2)
end

-- The body of an occurrence, or of a message with retry, with its `__delay__`, as `Waiting.content` has it; and when it is
-- due again, if it is. nil where it takes more than that: out of attempts, expired, or with options that are not known here.
local function told(member, id, at, due)
  local options, start = options_of(member, at)
  if not options or options[7] ~= nil or not (options[3] or options[5]) then return nil end
  if options[2] and (tonumber(options[2]) or 0) < now then return nil end
  local spent, again = exists(attempts) and tonumber(redis.call('HGET', attempts, id)) or 0, nil
  if options[3] then
    local timeout, most = retry_of(options)
    if not timeout or spent >= most then return nil end
    again = now + timeout -- later than now: this call does not meet it again
  end
  -- Argument by argument, since a table forgets what is nil.
  local delay = '\133' .. cmsgpack.pack('id', written(id), 'attempt', spent + 1, 'due', due, 'scheduled_for', options[6],
    'schedule', options[5])
  return with(string.sub(member, start), '\169__delay__' .. delay), again
end

-- The channel, the body as it shall lie there, and when it is due again, if it is; no body where it takes more than that.
local function on_channel(member, id, flags, name, at, due)
  if flags % 2 == 1 or flags > 7 or flags < 4 and string.byte(id, 1) ~= 0 then return nil end
  local body, again = string.sub(member, at), nil
  if flags >= 4 then body, again = told(member, id, at, math.ceil(due)) end
  local header = body and body ~= '' and string.byte(body, 1) or 0
  if header < 0x80 or header > 0x8f and header ~= 0xde and header ~= 0xdf then return nil end -- no map: it is sealed
  local bang = string.find(name, '!', 1, true)
  if not bang then return name, body, again end
  return string.sub(name, 1, bang), all_here and addressed(body, name), again
end

local function room_for(channel)
  room[channel] = room[channel] or room_on(prefix .. channel, capacity, expiry, tonumber(time[1]))
  return room[channel]
end

-- The last bytes of an id of ours are its order and its chance: unique, as the layer's random prefix must be. A message that
-- comes again, while what came before still lies there, has another attempt or due instant in its body: it does not fall
-- together with that.
local function unique(id)
  if string.byte(id, 1) == 0 then return string.sub(id, 18 - random_bytes, 17) end
  return string.sub(redis.sha1hex(id), 1, random_bytes)
end

local function hand_over(id, member, key, channel, body, again)
  redis.call('ZADD', prefix .. channel, string.format('%.6f', seconds + handed / 1000000), unique(id) .. body)
  redis.call('EXPIRE', prefix .. channel, expiry)
  if again then due_again(id, member, text(again)) else remove(id, member) end
  free_key(key, id)
  room[channel] = room[channel] - 1
  handed = handed + 1
end

local function only_claim(member, due, ok, id, key, name)
  if ok then only_claimed[string.match(name, '^[^!]*!?')] = true end
  claims[#claims + 1] = {member, text(math.ceil(due)), claim(ok, id, key, member, lease_end)}
end

-- Backlogs first, with half of the room in the batch: what is in them was due before what comes for the same channel now.
local share = math.floor(limit / 2)
for i = 10, #ARGV do
  if share <= 0 or budget <= 0 then break end
  local name = ARGV[i]
  local there = slots_by_name()[name]
  local space = string.sub(name, 1, 1) == '*' and PORTION or there and room_for(name) or 0
  local left = math.min(share, space)
  local rest, bytes = each_held_back(name, left, budget, function(member, due)
    local ok, id, flags, target, key, at = pcall(parse, member)
    local channel, body, again
    if ok then channel, body, again = on_channel(member, id, flags, target, at, due) end
    if body and not only_claimed[channel] and room_for(channel) > 0 then
      hand_over(id, member, key, channel, body, again)
    else
      only_claim(member, due, ok, id, key, target)
    end
  end)
  went_out[name] = left - rest
  limit, share, budget = limit - went_out[name], share - went_out[name], bytes
end

each_due(text(now), limit, budget, function(member, due)
  local ok, id, flags, name, key, at = pcall(parse, member)
  local backlog = ok and backlog_of(flags, name)
  local channel, body, again
  if ok and not backlog then channel, body, again = on_channel(member, id, flags, name, at, due) end
  if body and only_claimed[channel] then body = nil end
  if body and room_for(channel) > 0 then
    hand_over(id, member, key, channel, body, again)
  elseif backlog or body then
    hold_back(id, member, math.ceil(due), backlog or channel, now)
  else
    only_claim(member, due, ok, id, key, name)
  end
end)

local names = {}
for name in pairs(slots_by_name()) do
  names[#names + 1] = name
  names[#names + 1] = went_out[name] or -1
end
local first = redis.call('ZRANGE', waiting, 0, 0, 'WITHSCORES')
local due = tonumber(first[2] or SLOT)
return {handed, claims, names, due < SLOT and text(math.ceil(math.max(0, due))) or ''}
