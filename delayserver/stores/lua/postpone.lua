-- ARGV wake channel, now, attempts to spend: 1, 0 or -1; then for each: generation, member, due
-- -> for each whether it was ours
local spend = tonumber(ARGV[3])
local held, moved = {}, {}
for i = 4, #ARGV, 3 do
  local member, due = ARGV[i + 1], ARGV[i + 2]
  local ours = holds(ARGV[i], member)
  if ours then
    local id, _, _, key = parse(member)
    redis.call('ZADD', waiting, due, member)
    moved[member] = true
    move(id, due)
    if key and spend < 1 then redis.call('HSETNX', keys, key, id) end -- one that is handed over has none
    if spend ~= 0 and redis.call('HINCRBY', attempts, id, spend) < 1 then redis.call('HDEL', attempts, id) end
  end
  held[#held + 1] = ours and 1 or 0
end
-- A server that hands over looks again by itself; a consumer that has it come again is not that server.
if spend < 1 then wake(ARGV[1], moved, ARGV[2]) end
return held
