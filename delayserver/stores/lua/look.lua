-- ARGV score and id to begin behind, limit, most to pass over, most bytes to read, most bytes of content to show,
-- kind name key due_from due_before, each empty where all will do
-- -> {{score, id} to go on behind or {}, {score, member, size of the content, attempts spent} ...}
local limit, show = tonumber(ARGV[3]), tonumber(ARGV[6])
local kind, due_from, due_before = ARGV[7], tonumber(ARGV[10]), tonumber(ARGV[11])
local found, to_backlogs = {}, false

local function fits(pattern, text)
  if pattern == '' then return true end
  if not text then return false end
  if string.sub(pattern, -1) ~= '*' then return text == pattern end
  return string.sub(text, 1, #pattern - 1) == string.sub(pattern, 1, -2)
end

local function is_wanted(score, flags, name, key)
  local due = math.ceil(score) % SLOT
  return due >= due_from and due < due_before and (kind == '' or kind == (flags % 2 == 1 and 'group' or 'channel'))
    and fits(ARGV[8], name) and fits(ARGV[9], key)
end

local function see(member, score, id, flags, name, key, at)
  local place = tonumber(score)
  to_backlogs = place >= due_before and place < SLOT
  if to_backlogs then return false end
  if not is_wanted(place, flags, name, key) then return true end
  if #found == limit then return false end
  if flags >= 4 then
    local high, low = string.byte(member, at, at + 1)
    at = at + 2 + high * 256 + low
  end
  local shown = string.sub(member, 1, at - 1 + show)
  found[#found + 1] = {score, shown, #member - at + 1, redis.call('HGET', attempts, id) or '0'}
end

local rest = walk(ARGV[1], ARGV[2], tonumber(ARGV[4]), tonumber(ARGV[5]), see)
if to_backlogs then rest = walk(text(SLOT), '', tonumber(ARGV[4]), tonumber(ARGV[5]), see) end
return {rest, found}
