-- Calls `see` with each member from a place on, its score and what it parses to, until it answers false; with at most `most`
-- of them, and no more once `budget` bytes are spent. Answers the last score and id; nothing once all was seen.
-- The place is behind the message of this score and id; or where this score begins, if the id is empty.
local function rank_behind(score, id)
  if id == '' then return redis.call('ZCOUNT', waiting, '-inf', '(' .. score) end
  local rank = rank_of(waiting, score, id)
  local there = redis.call('ZRANGE', waiting, rank, rank, 'WITHSCORES')
  return is_of(there[1], id) and tonumber(there[2]) == tonumber(score) and rank + 1 or rank
end

local function walk(score, id, most, budget, see)
  local rank, portion = rank_behind(score, id), 1
  while true do
    local found = redis.call('ZRANGE', waiting, rank, rank + portion - 1, 'WITHSCORES')
    if #found == 0 then return {} end
    portion = math.min(PORTION, 2 * portion)
    for i = 1, #found, 2 do
      if most <= 0 or budget <= 0 then return {score, id} end
      local ok, its_id, flags, name, key, at = pcall(parse, found[i])
      if ok and see(found[i], found[i + 1], its_id, flags, name, key, at) == false then return {score, id} end
      score, id = found[i + 1], ok and its_id or string.sub(found[i], 1, 64)
      rank, most, budget = rank + 1, most - 1, budget - #found[i]
      if #found[i] > SMALL then portion = 1 end
    end
  end
end
