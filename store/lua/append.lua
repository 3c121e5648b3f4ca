-- Appends messages to one user's history, in order and all in one step, and
-- reads who is there.
-- KEYS  history, marks, presence
-- ARGV  most entries, history ms, marks ms,
--       live incarnations as ",a.1,b.2,", newest join number known,
--       then for each message: offset, topic, payload, "1" if it is of no use to
--       an absent user; the two above may be empty when none of them is
-- Returns the presence hash and, as last element, a letter for each message:
-- (k)ept, (r)efused, (a)bsent.
local history, marks = KEYS[1], KEYS[2]
local sockets = redis.call('HGETALL', KEYS[3])

-- A node that joined after the caller's list was made counts as live here: the
-- caller asks again, and can withdraw, but could not append later in order.
local function anybody()
  for i = 2, #sockets, 2 do
    local incarnation, join = string.match(sockets[i], '^([^|]*%.(%d+))|')
    if string.find(ARGV[4], ',' .. incarnation .. ',', 1, true) or tonumber(join) > tonumber(ARGV[5]) then
      return true
    end
  end
  return false
end

-- withdrawn reports whether the stream refuses an offset that the marks allow:
-- it remembers the last one that was removed.
local function withdrawn(id)
  local info = redis.pcall('XINFO', 'STREAM', history)
  for i = 1, #info, 2 do
    if info[i] == 'last-generated-id' then return not after(id, info[i + 1]) end
  end
  return false
end

local first = redis.call('HGET', marks, 'last')
local last, letters = first, ''
for i = 6, #ARGV, 4 do
  local id, only = ARGV[i], ARGV[i + 3] == '1'
  local letter = 'k'
  if only and not anybody() then
    letter = 'a'
  elseif last and not after(id, last) then
    letter = 'r'
  else
    local added = redis.pcall('XADD', history, 'MAXLEN', '~', ARGV[1], id,
      't', ARGV[i + 1], 'd', ARGV[i + 2], 'p', last or '0-0')
    if type(added) == 'string' then
      last = id
    elseif withdrawn(id) then
      letter = only and 'a' or 'r'
    else
      return added
    end
  end
  letters = letters .. letter
end
if last ~= first then
  redis.call('PEXPIRE', history, ARGV[2])
  redis.call('HSET', marks, 'last', last)
  redis.call('PEXPIRE', marks, ARGV[3])
end
sockets[#sockets + 1] = letters
return sockets
