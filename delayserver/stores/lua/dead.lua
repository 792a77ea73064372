-- ARGV at and id to begin behind ('' for the newest), limit -> {{id, at, the head of the letter} ...} newest first
if ARGV[3] == '0' then return {} end
local rank = 0
if ARGV[1] ~= '' then rank = redis.call('ZCARD', dead) - rank_of(dead, ARGV[1], ARGV[2]) end
local found = {}
local ids = redis.call('ZREVRANGE', dead, rank, rank + ARGV[3] - 1, 'WITHSCORES')
for i = 1, #ids, 2 do
  found[#found + 1] = {ids[i], ids[i + 1], redis.call('HGET', letters, 'head ' .. ids[i]) or ''}
end
return found
