-- KEYS the counts; ARGV what to do: read, died, begun, spared or cleared; for how many seconds to remember, then names
-- -> the count of each after that
redis.call('HDEL', KEYS[1], '') -- what runs then frees more than it takes: see freeing.lua
local counts = {}
for i = 3, #ARGV do
  if ARGV[1] == 'died' then redis.call('HSETNX', KEYS[1], ARGV[i], 1) end
  if ARGV[1] == 'begun' then redis.call('HINCRBY', KEYS[1], ARGV[i], 1) end
  if ARGV[1] == 'spared' and tonumber(redis.call('HGET', KEYS[1], ARGV[i]) or 0) > 1 then
    redis.call('HINCRBY', KEYS[1], ARGV[i], -1)
  end
  if ARGV[1] == 'cleared' then redis.call('HDEL', KEYS[1], ARGV[i]) end
  counts[#counts + 1] = tonumber(redis.call('HGET', KEYS[1], ARGV[i]) or 0)
end
if ARGV[1] ~= 'read' then redis.call('EXPIRE', KEYS[1], ARGV[2]) end
return counts
