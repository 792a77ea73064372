-- KEYS waiting keys moved; ARGV wake channel, on_conflict, then for each message: due id key member
-- -> for each {created, id, due}; or the position of the first message whose key is taken
local waiting, keys, moved = KEYS[1], KEYS[2], KEYS[3]
local on_conflict = ARGV[2]
if on_conflict == 'error' then
  local seen = {}
  for i = 3, #ARGV, 4 do
    local key = ARGV[i + 2]
    if key ~= '' then
      local held = redis.call('HGET', keys, key)
      if seen[key] or (held and find(waiting, moved, held)) then return (i - 3) / 4 end
      seen[key] = true
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
