-- An entry of a history holds messages that follow each other. Its id is the
-- offset of the last one. Its fields are p, the user's offset before the first, and
-- m, the messages: of each its offset, which the last one does without, its topic and
-- the length of its payload, with a space between and a line feed after them, and
-- the payload. One field, because each costs the server and the leader as much as
-- a hundred bytes.

-- messages calls f with the offset, topic and payload of each message of an
-- entry, and the user's offset before it.
local function messages(entry, f)
  local before, text = entry[2][2], entry[2][4]
  local i = 1
  while i <= #text do
    local _, head, at, topic, size = string.find(text, '^(%S*) (%S+) (%d+)\n', i)
    if not head then return end -- not written by this version
    if at == '' then at = entry[1] end
    f(at, topic, string.sub(text, head + 1, head + size), before)
    before, i = at, head + size + 1
  end
end

-- packed is one message as the only one of its entry.
local function packed(topic, payload)
  return ' ' .. topic .. ' ' .. #payload .. '\n' .. payload
end

-- newest is the offset of the last message that is kept, or nil. It is right
-- also when the last mark is not: see append.
local function newest(history, last)
  local mark = redis.call('GET', last) or nil
  local entry = redis.call('XREVRANGE', history, '+', '-', 'COUNT', 1)[1]
  if entry and not (mark and after(mark, entry[1])) then return entry[1] end
  return mark
end
