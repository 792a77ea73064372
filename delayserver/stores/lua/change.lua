-- KEYS waiting keys moved; ARGV wake channel, due or '' to cancel, then for each: 'id' or 'key', which
-- -> for each whether it was waiting
local waiting, keys, moved = KEYS[1], KEYS[2], KEYS[3]
local due = ARGV[2]
local before = head(waiting)
local changed = {}
for i = 3, #ARGV, 2 do
  local id = ARGV[i + 1]
  if ARGV[i] == 'key' then id = redis.call('HGET', keys, id) end
  local member = id and find(waiting, moved, id)
  if member and due ~= '' then
    redis.call('ZADD', waiting, due, member)
    redis.call('HSET', moved, id, due)
  elseif member then
    local _, _, _, key = parse(member)
    redis.call('ZREM', waiting, member)
    redis.call('HDEL', moved, id)
    free_key(keys, key, id)
  end
  changed[#changed + 1] = member and 1 or 0
end
if due ~= '' then wake(ARGV[1], waiting, before) end
return changed
