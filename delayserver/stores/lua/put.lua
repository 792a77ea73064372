-- ARGV wake channel, now, then for each message: due id keyed spent member
-- -> for each 1, or {id, due} of what was kept in its place; or the position of the first message whose key is taken
-- and which is an error then
local function first_refused()
  local holders, asked = {}, false
  for i = 5, #ARGV, 5 do asked = asked or string.byte(ARGV[i]) == 101 end -- an "e"
  for i = 3, asked and #ARGV or 0, 5 do
    local id, keyed = ARGV[i + 1], ARGV[i + 2]
    if keyed ~= '' and not redis.call('ZSCORE', waiting, ARGV[i + 4]) then
      local key = string.sub(keyed, 2)
      local held = holders[key] or redis.call('HGET', keys, key)
      local member = held and not holders[key] and find(held)
      local taken = holders[key] or member and not expired(member, ARGV[2])
      if taken and held ~= id and string.byte(keyed) == 101 then return (i - 3) / 5 end
      holders[key] = taken and held or id
    end
  end
end

local refused = first_refused()
if refused then return refused end
local receipts, ours = {}, {}
for i = 3, #ARGV, 5 do
  receipts[#receipts + 1] = put(ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3], ARGV[i + 4], ARGV[2])
  ours[ARGV[i + 4]] = true
end
wake(ARGV[1], ours, ARGV[2])
return receipts
