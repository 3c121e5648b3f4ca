-- page reads the user's messages after an offset, an empty one meaning what the
-- user has taken. Returns {last, from, the first message's predecessor,
-- then offset, topic and payload of each}.
local function page(history, last, marks, from, count)
  if from == '' then from = redis.call('HGET', marks, 'taken') or '0-0' end
  local out = {redis.call('GET', last) or '0-0', from, '0-0'}
  -- The start is included and then skipped: the offset after it need not exist.
  for _, entry in ipairs(redis.call('XRANGE', history, from, '+', 'COUNT', count + 1)) do
    if entry[1] ~= from then
      local fields = entry[2]
      if #out == 3 then
        local before = fields[6]
        while true do -- withdrawn entries leave holes
          local skip = redis.call('HGET', marks, before)
          if not skip then break end
          before = skip
        end
        out[3] = before
      end
      out[#out + 1] = entry[1]
      out[#out + 1] = fields[2]
      out[#out + 1] = fields[4]
    end
  end
  return out
end
