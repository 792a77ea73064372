-- What follows frees more than it takes, and must go on when Redis is out of memory: it refuses a script only up to the
-- script's first write. So here is one. An empty member is nobody's message.
redis.call('ZREM', waiting, '')

local PORTION = 25 -- read at a time

-- Calls `act` with each due member and its due instant, which must make it due later or remove it; at most `limit` of
-- them, and not many more bytes than `budget`.
local function each_due(now, limit, budget, act)
  while limit > 0 and budget > 0 do
    local due = redis.call('ZRANGEBYSCORE', waiting, '-inf', now, 'WITHSCORES', 'LIMIT', 0, math.min(limit, PORTION))
    if #due == 0 then return end
    for i = 1, #due, 2 do
      act(due[i], due[i + 1])
      budget = budget - #due[i]
    end
    limit = limit - #due / 2
  end
end
