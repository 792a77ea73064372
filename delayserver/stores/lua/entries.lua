-- An entry is a hash with its version `v` and its body `b`, and always has a TTL. What else lies under its key is nothing:
-- version 0.
local function version_of(key)
  local version = redis.pcall('HGET', key, 'v')
  if type(version) ~= 'string' or #version > 15 or not string.match(version, '^%d+$') then return 0 end
  return redis.call('HEXISTS', key, 'b') * tonumber(version)
end
