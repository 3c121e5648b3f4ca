-- Removes a message that nobody can have read and that is alone in its entry.
-- KEYS  history, last, marks
-- ARGV  offset, marks ms
-- Returns "1" when the entry is gone, "0" when it stays.
local history, last, marks = KEYS[1], KEYS[2], KEYS[3]
local id = ARGV[1]
local seen = redis.call('HGET', marks, 'seen')
if seen and not after(id, seen) then return {'0'} end

local found = redis.call('XRANGE', history, id, id)
if #found == 0 then return {'1'} end
redis.call('XDEL', history, id)

-- Each entry names the one before it. Mend the chain around the hole: skip the
-- holes before this one, step the last offset back if it was this one, and note
-- the hole for the entry that names it, which may be on its way.
local before = found[1][2][2]
while true do
  local skip = redis.call('HGET', marks, before)
  if not skip then break end
  redis.call('HDEL', marks, before)
  before = skip
end
if redis.call('GET', last) == id then
  if before == '0-0' then
    redis.call('DEL', last)
  else
    redis.call('SET', last, before, 'KEEPTTL')
  end
end
if redis.call('HLEN', marks) > 100 then
  -- Forgetting old holes bounds the hash; the worst it does is a gap reported
  -- to a browser that was away since before them.
  for _, field in ipairs(redis.call('HKEYS', marks)) do
    if string.find(field, '-', 1, true) then redis.call('HDEL', marks, field) end
  end
end
redis.call('HSET', marks, id, before)
redis.call('PEXPIRE', marks, ARGV[2])
return {'1'}
