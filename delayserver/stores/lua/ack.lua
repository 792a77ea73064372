-- ARGV most bytes, then for each ticket: id attempt
-- -> for the first of them, as many as there was time for, 1: it is gone now, 0: it was gone, 2: this is not its last
-- hand-over. What is claimed, by an id that tells its instant and without an attempt spent, is nowhere to be found: 0.
local function gone(id, member, _, backlog)
  local ok, _, _, _, key = pcall(parse, member)
  remove(id, member)
  free_key(ok and key, id)
  if backlog then keep_backlog(backlog) end
  return 1
end

local function what_is(id, member)
  return (member or is_known(id) or redis.call('HEXISTS', attempts, id) == 1) and 2 or 0
end

return each_ticket(2, tonumber(ARGV[1]), gone, what_is)
