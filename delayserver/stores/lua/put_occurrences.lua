-- KEYS[8] the schedules' cursors; ARGV wake channel, now, then for each move: schedule, the cursor that was seen, the one to
-- set, 1 to be sure, an id that must not be here or '', how many to take, their ids, how many to put, and for each of these
-- due id keyed spent member. A cursor is '' where there is none, else '=' and its bytes.
-- -> for each {step, how many were taken, the cursor that stands in its way}; the last only where it is overtaken
-- The cursor is set last, so that an act that fails midway is not taken for done.
local schedules = KEYS[8]
local DONE, OVERTAKEN, HELD, GONE = 1, 0, -1, -2
local ours, at = {}, 3

-- The next of the arguments, as many as are counted before them.
local function listed(width)
  local first = at + 1
  local last = at + width * tonumber(ARGV[at])
  at = last + 1
  return first, last
end

local function set_cursor(schedule, cursor)
  if cursor == '' then
    redis.call('HDEL', schedules, schedule)
  else
    redis.call('HSET', schedules, schedule, string.sub(cursor, 2))
  end
end

-- Those of some ids that wait.
local function found(first, last)
  local members = {}
  for i = first, last do
    local member, _, backlog = find(ARGV[i])
    if member and not expired(member, ARGV[2]) then members[#members + 1] = {ARGV[i], member, backlog} end
  end
  return members
end

local function take(id, member, backlog)
  local ok, _, _, _, key = pcall(parse, member)
  remove(id, member)
  free_key(ok and key, id)
  if backlog then keep_backlog(backlog) end
  ours[member] = nil
end

local function step()
  local schedule, seen, cursor, sure, unless = ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3] == '1', ARGV[at + 4]
  at = at + 5
  local first_taken, last_taken = listed(1)
  local first_put, last_put = listed(5)
  local stands = redis.call('HGET', schedules, schedule)
  stands = stands and '=' .. stands or ''
  if stands ~= seen then return {OVERTAKEN, 0, stands} end
  if unless ~= '' and (is_known(unless) or find(unless)) then return {HELD, 0} end
  local taken = found(first_taken, last_taken)
  if sure and #taken <= last_taken - first_taken then return {GONE, 0} end
  for _, one in ipairs(taken) do take(one[1], one[2], one[3]) end
  for i = first_put, last_put, 5 do
    put(ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3], ARGV[i + 4], ARGV[2])
    ours[ARGV[i + 4]] = true
  end
  set_cursor(schedule, cursor)
  return {DONE, #taken}
end

local moved_so = {}
while at <= #ARGV do moved_so[#moved_so + 1] = step() end
if next(ours) then wake(ARGV[1], ours, ARGV[2]) end
return moved_so
