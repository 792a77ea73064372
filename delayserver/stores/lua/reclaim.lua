-- ARGV end of the lease, most bytes, then for each ticket: id attempt
-- -> for the first of them, as many as there was time for, {member, due, attempts spent}, or {} where it was left as it is
local function claimed(id, member, due, backlog)
  local ok, _, _, _, key = pcall(parse, member)
  local found = {member, text(due), claim(ok, id, key, member, ARGV[1])}
  if backlog then keep_backlog(backlog) end
  return found
end

local function left() return {} end

return each_ticket(3, tonumber(ARGV[2]), claimed, left)
