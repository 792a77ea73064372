-- ARGV now, limit, end of the lease -> {member, due, attempts spent} ...
local claims = {}
local due = redis.call('ZRANGEBYSCORE', waiting, '-inf', ARGV[1], 'WITHSCORES', 'LIMIT', 0, ARGV[2])
for i = 1, #due, 2 do
  local ok, id, _, _, key = pcall(parse, due[i])
  claims[#claims + 1] = {due[i], due[i + 1], claim(ok, id, key, due[i], ARGV[3])}
end
return claims
