-- An entry is a hash with its version `v` and its body `b`, and always has a TTL. What else lies under its key is nothing.
local function version_of(key)
  local version = redis.pcall('HGET', key, 'v')
  return type(version) == 'string' and #version < 16 and string.match(version, '^%d+$') and tonumber(version) or 0
end
