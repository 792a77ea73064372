-- What stays after its hand-over, until its consumer acks.
local YEAR = 31536000000 -- ms: the longest ack timeout

-- The ack timeout (ms) and the most attempts that the options ask for; nil where they have no such retry.
local function retry_of(options)
  local retry = options and options[3]
  if type(retry) ~= 'table' then return nil end
  local timeout, most = tonumber(retry.ack_timeout), tonumber(retry.max_attempts)
  if not timeout or not most or timeout < 1 or timeout > YEAR or timeout % 1 ~= 0 then return nil end
  return timeout, most
end

-- Waiting or claimed -> waiting for its ack, with an attempt spent.
local function due_again(id, member, again)
  redis.call('ZADD', waiting, again, member)
  move(id, again)
  redis.call('HINCRBY', attempts, id, 1)
  there[attempts] = true
end

