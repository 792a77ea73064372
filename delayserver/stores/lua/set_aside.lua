-- KEYS channel, which is not a sorted set -> {its type, its new name}; there it expires in a week
local kind = redis.call('TYPE', KEYS[1]).ok
local aside = '{delayserver}:set-aside:' .. KEYS[1]
if kind ~= 'none' and kind ~= 'zset' then
  redis.call('RENAME', KEYS[1], aside)
  redis.call('EXPIRE', aside, 604800)
end
return {kind, aside}
