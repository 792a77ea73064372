-- KEYS an entry for each change; ARGV for each: the version that was seen or '', how long to keep it (ms), body
-- -> for each its next version, 0 where another stands
local versions = {}
for i, key in ipairs(KEYS) do
  local seen, keep, body = ARGV[3 * i - 2], ARGV[3 * i - 1], ARGV[3 * i]
  local version = version_of(key)
  if seen == '' or tonumber(seen) == version then
    if version == 0 and redis.call('EXISTS', key) == 1 then redis.call('DEL', key) end -- it may be no hash
    version = version + 1
    redis.call('HSET', key, 'v', string.format('%.0f', version), 'b', body)
    redis.call('PEXPIRE', key, keep)
    versions[i] = version
  else
    versions[i] = 0
  end
end
return versions
