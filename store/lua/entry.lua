-- An entry of a history holds messages that follow each other. Its id is the
-- offset of the last one. Its fields are p, the user's offset before the first;
-- then for each message t, its topic, and d, its payload; before these o, its
-- offset, which the last one does without.

-- messages calls f with the offset, topic and payload of each message of an
-- entry, and the user's offset before it.
local function messages(entry, f)
  local fields = entry[2]
  local before, i = fields[2], 3
  while i < #fields do
    local at = entry[1]
    if fields[i] == 'o' then
      at, i = fields[i + 1], i + 2
    end
    f(at, fields[i + 1], fields[i + 3], before)
    before, i = at, i + 4
  end
end

-- newest is the offset of the last message that is kept, or nil. It is right
-- also when the last mark is not: see append.
local function newest(history, last)
  local mark = redis.call('GET', last) or nil
  local entry = redis.call('XREVRANGE', history, '+', '-', 'COUNT', 1)[1]
  if entry and not (mark and after(mark, entry[1])) then return entry[1] end
  return mark
end
