-- KEYS channel, taking; ARGV for how many milliseconds, then tokens of whole members: nobody is shown them meanwhile
local time = redis.call('TIME')
local till = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000) + ARGV[1]
for i = 2, #ARGV do
  if string.sub(ARGV[i], 1, 1) == 'm' then
    redis.call('HSET', KEYS[2], redis.sha1hex(string.sub(ARGV[i], 2)), 'nobody ' .. string.format('%.0f', till))
  end
end
redis.call('PEXPIRE', KEYS[2], ARGV[1])
return 1
