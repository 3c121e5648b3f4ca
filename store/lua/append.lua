-- Appends messages to users' histories, each user's in order and all in one
-- step, and reads who is there.
-- KEYS  for each user: history, last, presence
-- ARGV  most entries, history ms, marks ms,
--       live incarnations as ",a.1,b.2,", newest join number known,
--       "1" if the last marks may be wrong,
--       then for each user: how many messages, and for each of them
--       offset, topic, payload, "1" if it is of no use to an absent user;
--       the incarnations and the number may be empty when none is
-- Returns for each user: a letter for each message, (k)ept, (r)efused or
-- (a)bsent; the user's last offset before them, then of each refused one what its
-- entry names, or 0-0, with spaces between; the number of elements of the
-- presence hash; the elements.
local most, historyMs, marksMs, live, joins, unsure = ARGV[1], ARGV[2], ARGV[3], ARGV[4], tonumber(ARGV[5]), ARGV[6] ~= ''

-- A node that joined after the caller's list was made counts as live here: the
-- caller asks again, and can withdraw, but could not append later in order.
local function anybody(sockets)
  for i = 2, #sockets, 2 do
    local incarnation, join = string.match(sockets[i], '^([^|]*%.(%d+))|')
    if string.find(live, ',' .. incarnation .. ',', 1, true) or tonumber(join) > joins then
      return true
    end
  end
  return false
end

-- withdrawn reports whether the stream refuses an offset that is after the
-- user's last one: it remembers what was removed.
local function withdrawn(history, id)
  local info = redis.pcall('XINFO', 'STREAM', history)
  for i = 1, #info, 2 do
    if info[i] == 'last-generated-id' then return not after(id, info[i + 1]) end
  end
  return false
end

-- predecessor is what a kept message names as the one before it.
local function predecessor(history, id)
  local found = '0-0'
  local entry = redis.call('XRANGE', history, id, '+', 'COUNT', 1)[1]
  if entry then
    messages(entry, function(at, _, _, before) if at == id then found = before end end)
  end
  return found
end

local out, n, arg = {}, 0, 7
for k = 1, #KEYS, 3 do
  local history = KEYS[k]
  local sockets = redis.call('HGETALL', KEYS[k + 2])
  local mark = redis.call('GET', KEYS[k + 1])
  local first = unsure and newest(history, KEYS[k + 1]) or mark
  local last, letters, before = first, '', first or '0-0'
  local count = tonumber(ARGV[arg])
  for i = arg + 1, arg + 4 * count, 4 do
    local id, only = ARGV[i], ARGV[i + 3] ~= ''
    local letter = 'k'
    if only and not anybody(sockets) then
      letter = 'a'
    elseif last and not after(id, last) then
      letter = 'r'
      before = before .. ' ' .. predecessor(history, id)
    else
      local added = redis.pcall('XADD', history, 'MAXLEN', '~', most, id,
        'p', last or '0-0', 'm', packed(ARGV[i + 1], ARGV[i + 2]))
      if type(added) == 'string' then
        last = id
      elseif withdrawn(history, id) then
        letter = only and 'a' or 'r'
        if letter == 'r' then before = before .. ' 0-0' end
      else
        if last ~= mark then redis.call('SET', KEYS[k + 1], last, 'PX', marksMs) end
        return added
      end
    end
    letters = letters .. letter
  end
  arg = arg + 1 + 4 * count
  if last ~= mark then redis.call('SET', KEYS[k + 1], last, 'PX', marksMs) end
  if last ~= first then redis.call('PEXPIRE', history, historyMs) end
  out[n + 1] = letters
  out[n + 2] = before
  out[n + 3] = #sockets
  n = n + 3
  for i = 1, #sockets do out[n + i] = sockets[i] end
  n = n + #sockets
end
return out
