-- ARGV wake channel, now, on_conflict, then for each message: due id key spent member
-- -> for each 1, or {id, due} of what was kept in its place; or the position of the first message whose key is taken
local on_conflict = ARGV[3]
if on_conflict == 'error' then
  local holders = {}
  for i = 4, #ARGV, 5 do
    local id, key = ARGV[i + 1], ARGV[i + 2]
    if key ~= '' and not redis.call('ZSCORE', waiting, ARGV[i + 4]) then
      local held = holders[key] or redis.call('HGET', keys, key)
      if held and held ~= id and (holders[key] or find(held)) then return (i - 4) / 5 end
      holders[key] = id
    end
  end
end
local receipts, ours = {}, {}
for i = 4, #ARGV, 5 do
  receipts[#receipts + 1] = put(on_conflict, ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3], ARGV[i + 4])
  ours[ARGV[i + 4]] = true
end
wake(ARGV[1], ours, ARGV[2])
return receipts
