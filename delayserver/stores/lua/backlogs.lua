-- -> {name, the first due instant in it} ... of each backlog
local found = {}
local names = {}
for name in pairs(slots_by_name()) do names[#names + 1] = name end
for _, name in ipairs(names) do
  local start = slots[name] * SLOT
  if keep_backlog(name) then
    local first = redis.call('ZRANGEBYSCORE', waiting, text(start), '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
    found[#found + 1] = {name, text(tonumber(first[2]) - start)}
  end
end
return found
