-- ARGV wake channel, the present, the instant from which the ack timeouts count, most bytes, then for each ticket: id attempt
-- -> for the first of them, as many as there was time for, when it is due, or '' where it was left as it is
local ours = {}

local function due_later(id, member, _, backlog)
  local ok, _, flags, _, key, at = pcall(parse, member)
  local timeout = ok and flags >= 4 and retry_of(options_of(member, at))
  if not timeout then return '' end
  local due = text(tonumber(ARGV[3]) + timeout)
  redis.call('ZADD', waiting, due, member)
  move(id, due)
  free_key(key, id)
  if backlog then keep_backlog(backlog) end
  ours[member] = true
  return due
end

local function left() return '' end

local renewed = each_ticket(5, tonumber(ARGV[4]), due_later, left)
if next(ours) then wake(ARGV[1], ours, ARGV[2]) end
return renewed
