-- KEYS what is in hand; ARGV lease (ms), after how many seconds it is forgotten, then for each: generation, member
-- -> for each 1 if it was still ours
redis.call('ZREM', KEYS[1], '') -- it takes nothing: see freeing.lua
local lease_end = now_ms() + tonumber(ARGV[1])
local held = {}
for i = 3, #ARGV, 2 do
  local ours = in_hand(KEYS[1], ARGV[i], ARGV[i + 1])
  if ours then redis.call('ZADD', KEYS[1], exact(lease_end + tonumber(ARGV[i])), ARGV[i + 1]) end
  held[#held + 1] = ours and 1 or 0
end
redis.call('EXPIRE', KEYS[1], ARGV[2])
return held
