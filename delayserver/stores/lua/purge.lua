-- ARGV ids -> for each whether it was there
local purged = {}
for i, id in ipairs(ARGV) do purged[i] = exhume(id) and 1 or 0 end
return purged
