-- ARGV wake channel, now, due or '' to cancel, then for each: 'id' or 'key', which -> for each whether it was waiting
local due = ARGV[3]
local changed = {}
for i = 4, #ARGV, 2 do
  local id = ARGV[i + 1]
  if ARGV[i] == 'key' then id = redis.call('HGET', keys, id) end
  local member, _, backlog = nil, nil, nil
  if id then member, _, backlog = find(id) end
  if member and expired(member, ARGV[2]) then member, backlog = nil, nil end
  if member and due ~= '' then
    redis.call('ZADD', waiting, due, member)
    move(id, due)
    wake(ARGV[1], {[member] = true}, ARGV[2])
  elseif member then
    local ok, _, _, _, key = pcall(parse, member)
    remove(id, member)
    free_key(ok and key, id)
  end
  if backlog then keep_backlog(backlog) end
  changed[#changed + 1] = member and 1 or 0
end
return changed
