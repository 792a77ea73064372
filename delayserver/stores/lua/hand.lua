-- What a worker has in hand of a channel: a sorted set beside it, see take.lua.
local function now_ms()
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end

-- A number with its fraction; Redis would round it.
local function exact(number)
  return string.format('%.17g', number)
end

local function in_hand(flight, generation, member)
  local score = redis.call('ZSCORE', flight, member)
  return score and tonumber(score) % 1 == tonumber(generation)
end
