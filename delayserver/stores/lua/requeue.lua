-- ARGV wake channel, now, then for each: id of the letter, id, key, member -> for each whether it was there
local ours, requeued = {}, {}
for i = 3, #ARGV, 4 do
  local id, key, member = ARGV[i + 1], ARGV[i + 2], ARGV[i + 3]
  local there = exhume(ARGV[i])
  if there and not is_known(id) and redis.call('ZADD', waiting, 'NX', ARGV[2], member) == 1 then -- else it was put again
    move(id, ARGV[2])
    if key ~= '' then redis.call('HSETNX', keys, key, id) end
    ours[member] = true
  end
  requeued[#requeued + 1] = there and 1 or 0
end
wake(ARGV[1], ours, ARGV[2])
return requeued
