-- KEYS for each channel: the channel, and what is in hand of it
-- ARGV lease (ms), after how many seconds what is in nobody's hand is forgotten, 1 to take what is beyond its lease,
-- the taker's generation, most messages, most bytes, how many are done, then for each channel: most, 1 to keep it in hand;
-- then for each that is done: its channel's position, generation, member
-- -> {for each that is done 1 if it was ours, {position, generation, 1 if it was in a hand before, member} ...,
-- the positions of channels that are none, when the next lease ends or ''}
-- What is in hand has the end of its lease as score (ms), and the generation as a fraction of that: no two takers in a
-- row have the same.
redis.call('ZREM', KEYS[2], '') -- it frees more than it takes: see freeing.lua
local channels = #KEYS / 2
local total, budget = tonumber(ARGV[5]), tonumber(ARGV[6])
local now = now_ms()
local lease_end = now + tonumber(ARGV[1])
local dones, taken, wrong, next_end = {}, {}, {}, nil
local left, keeps = {}, {}

for p = 1, channels do
  left[p], keeps[p] = tonumber(ARGV[6 + 2 * p]), ARGV[7 + 2 * p] == '1'
end

for i = 8 + 2 * channels, #ARGV, 3 do
  local flight = KEYS[2 * ARGV[i]]
  local ours = in_hand(flight, ARGV[i + 1], ARGV[i + 2])
  if ours then redis.call('ZREM', flight, ARGV[i + 2]) end
  dones[#dones + 1] = ours and 1 or 0
end

local function take(p, generation, before, member)
  if keeps[p] then
    redis.call('ZADD', KEYS[2 * p], exact(lease_end + generation), member)
    redis.call('EXPIRE', KEYS[2 * p], ARGV[2])
  end
  taken[#taken + 1] = {p, exact(generation), before, member}
  left[p], total, budget = left[p] - 1, total - 1, budget - #member
end

local mine = tonumber(ARGV[4])

local function take_over(p)
  local found = redis.call('ZRANGEBYSCORE', KEYS[2 * p], '-inf', now, 'WITHSCORES', 'LIMIT', 0, math.min(left[p], total))
  for i = 1, #found, 2 do
    if budget <= 0 then return end
    local theirs = found[i + 1] % 1
    if not keeps[p] then redis.call('ZREM', KEYS[2 * p], found[i]) end
    take(p, theirs == mine and (mine + 0.5) % 1 or mine, 1, found[i])
  end
end

-- At most `most` of one channel, in portions: members may be large.
local function take_off(p, most)
  local portion = 1
  most = math.min(most, left[p], total)
  while most > 0 and budget > 0 do
    local found = redis.pcall('ZPOPMIN', KEYS[2 * p - 1], math.min(portion, most))
    if found.err then
      wrong[#wrong + 1], left[p] = p, 0
      return
    end
    if #found == 0 then
      left[p] = 0
      return
    end
    portion = math.min(25, 2 * portion)
    for i = 1, #found, 2 do
      take(p, mine, 0, found[i])
      most = most - 1
      if #found[i] > 4096 then portion = 1 end
    end
  end
end

if ARGV[3] == '1' then
  for p = 1, channels do take_over(p) end
end
-- To each its share, so that no channel holds up another; then what is left.
local share = math.ceil(total / channels)
for p = 1, channels do take_off(p, share) end
for p = 1, channels do take_off(p, total) end
for p = 1, channels do
  local first = redis.call('ZRANGE', KEYS[2 * p], 0, 0, 'WITHSCORES')[2]
  if first and (not next_end or tonumber(first) < next_end) then next_end = tonumber(first) end
end
return {dones, taken, wrong, next_end and exact(next_end - now) or ''}
