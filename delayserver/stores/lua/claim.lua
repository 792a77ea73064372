-- ARGV now, limit, most bytes, end of the lease, then the names of full targets
-- -> {how many went into a backlog, {member, due, attempts spent} ...}
local claims, held_back, full = {}, 0, {}
for i = 5, #ARGV do full[ARGV[i]] = true end

local function full_one(flags, name)
  if flags % 2 == 1 then name = '*' .. name end
  local bang = string.find(name, '!', 1, true)
  local shared = bang and string.sub(name, 1, bang)
  return full[name] and name or full[shared] and shared or backlog_of(flags, name)
end

each_due(ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), function(member, due)
  local ok, id, flags, name, key = pcall(parse, member)
  local backlog = ok and full_one(flags, name)
  if backlog then
    hold_back(id, member, math.ceil(due), backlog, tonumber(ARGV[1]))
    held_back = held_back + 1
  else
    claims[#claims + 1] = {member, text(math.ceil(due)), claim(ok, id, key, member, ARGV[4])}
  end
end)
return {held_back, claims}
