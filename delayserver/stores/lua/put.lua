-- KEYS waiting keys moved; ARGV wake channel, on_conflict, then for each message: due id key member
-- -> for each {created, id, due}; or the position of the first message whose key is taken
local waiting, keys, moved = KEYS[1], KEYS[2], KEYS[3]
local on_conflict = ARGV[2]
if on_conflict == 'error' then
  local holders = {}
  for i = 3, #ARGV, 4 do
    local id, key = ARGV[i + 1], ARGV[i + 2]
    if key ~= '' and not redis.call('ZSCORE', waiting, ARGV[i + 3]) then
      local held = holders[key] or redis.call('HGET', keys, key)
      if held and held ~= id and (holders[key] or find(waiting, moved, held)) then return (i - 3) / 4 end
      holders[key] = id
    end
  end
end
local before = head(waiting)
local receipts = {}
for i = 3, #ARGV, 4 do
  receipts[#receipts + 1] = put(waiting, keys, moved, on_conflict, ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3])
end
wake(ARGV[1], waiting, before)
return receipts
