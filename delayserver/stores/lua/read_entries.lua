-- KEYS entries; ARGV most bytes
-- -> for the first of them, as many as there was time for, {version, body}, or {} where there is nothing
local LOOK = 128 -- to look for one holds up Redis about as long as to copy so many bytes
local found, budget = {}, tonumber(ARGV[1])
for i = 1, #KEYS do
  if budget <= 0 then break end
  local version = version_of(KEYS[i])
  local body = version > 0 and redis.call('HGET', KEYS[i], 'b')
  found[i] = body and {version, body} or {}
  budget = budget - LOOK - (body and #body or 0)
end
return found
