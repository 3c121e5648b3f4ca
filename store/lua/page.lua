-- page reads the user's messages after an offset, an empty one meaning what the
-- user has taken. Returns {last, from, the first message's predecessor,
-- then offset, topic and payload of each}.
local function page(history, last, marks, from, count)
  if from == '' then from = redis.call('HGET', marks, 'taken') or '0-0' end
  local out = {redis.call('GET', last) or '0-0', from, '0-0'}
  local most, given = 3 + 3 * count, from
  local function give(at, topic, payload, before)
    if #out >= most or not after(at, given) then return end -- two leaders at once may append a message twice
    if #out == 3 then
      while true do -- withdrawn entries leave holes
        local skip = redis.call('HGET', marks, before)
        if not skip then break end
        before = skip
      end
      out[3] = before
    end
    out[#out + 1] = at
    out[#out + 1] = topic
    out[#out + 1] = payload
    given = at
  end
  local start, step = from, 64 -- the start is included: the offset after it need not exist
  repeat
    local entries = redis.call('XRANGE', history, start, '+', 'COUNT', step)
    for _, entry in ipairs(entries) do messages(entry, give) end
    if #entries > 0 then start = '(' .. entries[#entries][1] end
  until #entries < step or #out >= most
  return out
end
