-- ARGV now, limit, most bytes, end of the lease, pause, prefix expiry capacity random_bytes,
-- then pairs: a channel known to be full, and until when to leave it alone
-- -> {handed over, put off, {full channels}, {{member, due, attempts spent}, ...} of what is only claimed}
-- A plain message for a channel goes straight onto it, in the format of channels_redis, and is gone from `waiting`:
-- one act. What is for a group, or has options, is claimed for the layer to deliver. What meets a full channel waits.
local now, limit, budget, lease_end, pause = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4], ARGV[5]
local prefix, expiry, capacity, random_bytes = ARGV[6], tonumber(ARGV[7]), tonumber(ARGV[8]), tonumber(ARGV[9])
local room, full, paused, claims, handed, put_off = {}, {}, {}, {}, 0, 0
for i = 10, #ARGV, 2 do paused[ARGV[i]] = ARGV[i + 1] end
local time = redis.call('TIME')
local seconds = tonumber(time[1]) + tonumber(time[2]) / 1000000

-- The body with {"__asgi_channel__": name} added; nil where its map header is not the short one.
local function addressed(body, name)
  local header = string.byte(body, 1)
  if header < 0x80 or header > 0x8e then return nil end
  local address = '\176__asgi_channel__\217' .. string.char(#name) .. name
  return string.char(header + 1) .. string.sub(body, 2) .. address
end

-- The channel's key, and the body as it shall lie there; nil where the layer must do it.
local function on_channel(member, id, flags, name, at)
  if flags % 2 == 1 or flags >= 4 or string.byte(id, 1) ~= 0 then return nil end
  local body = string.sub(member, at)
  local bang = string.find(name, '!', 1, true)
  if not bang then return prefix .. name, body end
  return prefix .. string.sub(name, 1, bang), addressed(body, name)
end

each_due(now, limit, budget, function(member, due)
  local ok, id, flags, name, key, at = pcall(parse, member)
  local channel, body
  if ok then channel, body = on_channel(member, id, flags, name, at) end
  if not body then
    claims[#claims + 1] = {member, due, claim(ok, id, key, member, lease_end)}
    return
  end
  if not paused[name] then
    room[channel] = room[channel] or room_on(channel, capacity, expiry, tonumber(time[1]))
  end
  if paused[name] or room[channel] <= 0 then
    local later = paused[name] or pause
    full[name] = not paused[name] or nil
    redis.call('ZADD', waiting, later, member)
    move(id, later)
    put_off = put_off + 1
    return
  end
  -- The last bytes of the id are its order and its chance: unique, as the layer's random prefix must be.
  redis.call('ZADD', channel, string.format('%.6f', seconds + handed / 1000000),
    string.sub(id, 18 - random_bytes, 17) .. body)
  redis.call('EXPIRE', channel, expiry)
  remove(id, member)
  free_key(key, id)
  room[channel] = room[channel] - 1
  handed = handed + 1
end)
local names = {}
for name in pairs(full) do names[#names + 1] = name end
return {handed, put_off, names, claims}
