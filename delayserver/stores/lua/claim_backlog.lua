-- ARGV name, limit, most bytes, end of the lease -> {member, due, attempts spent} ...
local claims = {}
each_held_back(ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), function(member, due)
  local ok, id, _, _, key = pcall(parse, member)
  claims[#claims + 1] = {member, text(due), claim(ok, id, key, member, ARGV[4])}
end)
return claims
