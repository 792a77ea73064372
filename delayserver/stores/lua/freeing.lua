-- What follows frees more than it takes, and must go on when Redis is out of memory: it refuses a script only up to the
-- script's first write. So here is one. An empty member is nobody's message.
redis.call('ZREM', waiting, '')

-- Calls `act` with each member whose score lies between two, and with its score; it must make it due elsewhere or remove it.
-- At most `limit` of them, and no more once `budget` bytes are spent. Answers what is left of both.
local function each(first, last, limit, budget, act)
  local portion = 1
  while limit > 0 and budget > 0 do
    local found = redis.call('ZRANGEBYSCORE', waiting, first, last, 'WITHSCORES', 'LIMIT', 0, math.min(limit, portion))
    if #found == 0 then break end
    portion = math.min(PORTION, 2 * portion)
    for i = 1, #found, 2 do
      if budget <= 0 then return limit, budget end
      act(found[i], tonumber(found[i + 1]))
      limit, budget = limit - 1, budget - #found[i]
      if #found[i] > SMALL then portion = 1 end
    end
  end
  return limit, budget
end

-- As `each`, for what is due.
local function each_due(now, limit, budget, act)
  return each('-inf', now, limit, budget, act)
end

-- As `each`, for the backlog of this name; `act` gets the due instant.
local function each_held_back(name, limit, budget, act)
  local slot = slots_by_name()[name]
  if not slot then return limit, budget end
  local start = slot * SLOT
  limit, budget = each(text(start), '(' .. text(start + SLOT), limit, budget, function(member, score)
    act(member, score - start)
  end)
  keep_backlog(name)
  return limit, budget
end
