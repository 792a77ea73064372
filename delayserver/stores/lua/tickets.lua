-- A ticket is an id and the attempt of one hand-over, two arguments. A message is handed over while it waits, wherever that is,
-- with as many attempts spent.
local LOOK = 1024 -- to find one holds up Redis about as long as to copy so many bytes

-- What `fits` answers for each of the tickets from an argument on, given the id, the member, its due instant and its backlog;
-- where a ticket does not fit, what `fits_not` answers, given the id and the member of what waits, if any. It ends before the
-- last ticket once `budget` bytes are spent.
local function each_ticket(first, budget, fits, fits_not)
  local replies = {}
  for i = first, #ARGV, 2 do
    if budget <= 0 then break end
    local id, attempt, before = ARGV[i], tonumber(ARGV[i + 1]), copied
    local member, due, backlog = find(id)
    if member and attempt > 0 and tonumber(redis.call('HGET', attempts, id) or 0) == attempt then
      replies[#replies + 1] = fits(id, member, due, backlog)
    else
      replies[#replies + 1] = fits_not(id, member)
    end
    budget = budget - LOOK - (copied - before)
  end
  return replies
end
