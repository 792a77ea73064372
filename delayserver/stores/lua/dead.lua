-- ARGV at and id to begin behind ('' for the newest), limit, most bytes of each -> {letter ...} newest first
if ARGV[3] == '0' then return {} end
local rank = 0
if ARGV[1] ~= '' then
  local added = redis.call('ZADD', dead, 'NX', ARGV[1], ARGV[2]) == 1
  rank = redis.call('ZREVRANK', dead, ARGV[2])
  if added then redis.call('ZREM', dead, ARGV[2]) else rank = rank + 1 end
end
local found = {}
for _, id in ipairs(redis.call('ZREVRANGE', dead, rank, rank + ARGV[3] - 1)) do
  local letter = redis.call('HGET', letters, id)
  if letter then found[#found + 1] = string.sub(letter, 1, ARGV[4]) end
end
return found
