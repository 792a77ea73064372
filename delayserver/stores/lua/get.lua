-- ARGV now, 'id' or 'key', which -> {member, due, attempts spent}, or nothing where no such message waits
local id = ARGV[3]
if ARGV[2] == 'key' then id = redis.call('HGET', keys, id) end
local member, due = nil, nil
if id then member, due = find(id) end
if not member or expired(member, ARGV[1]) then return {} end
return {member, text(due), redis.call('HGET', attempts, id) or '0'}
