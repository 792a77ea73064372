-- KEYS waiting keys moved; ARGV now limit until -> member, due, member, due ...
local waiting, keys, moved = KEYS[1], KEYS[2], KEYS[3]
local due = redis.call('ZRANGEBYSCORE', waiting, '-inf', ARGV[1], 'WITHSCORES', 'LIMIT', 0, ARGV[2])
local any_moved = redis.call('EXISTS', moved) == 1
for i = 1, #due, 2 do
  local ok, id, _, _, key = pcall(parse, due[i])
  redis.call('ZADD', waiting, ARGV[3], due[i])
  if ok then
    free_key(keys, key, id)
    if any_moved then redis.call('HDEL', moved, id) end
  end
end
return due
