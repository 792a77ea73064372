-- KEYS channel, what is in hand of it; ARGV the layer's expiry, then for each: generation, member -> how many went back
-- They come first again, but not with so old a time that the layer drops them as expired.
local seconds, expiry, back = now_ms() / 1000, tonumber(ARGV[1]), 0
redis.call('ZREM', KEYS[2], '') -- it frees as much as it takes: see freeing.lua
local first = redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')[2]
local score = math.max(math.min(tonumber(first or seconds), seconds), seconds - expiry / 2)
for i = #ARGV - 1, 2, -2 do
  if in_hand(KEYS[2], ARGV[i], ARGV[i + 1]) then
    back = back + 1
    redis.call('ZREM', KEYS[2], ARGV[i + 1])
    redis.call('ZADD', KEYS[1], exact(score - back / 1000000), ARGV[i + 1])
  end
end
if back > 0 then redis.call('EXPIRE', KEYS[1], expiry) end
return back
