-- Removes an entry that nobody can have read.
-- KEYS  history, marks
-- ARGV  offset
-- Returns "1" when the entry is gone, "0" when it stays.
local id = ARGV[1]
local seen = redis.call('HGET', KEYS[2], 'seen')
if seen and not after(id, seen) then return {'0'} end

local found = redis.call('XRANGE', KEYS[1], id, id)
if #found == 0 then return {'1'} end
redis.call('XDEL', KEYS[1], id)

-- Each entry names the one before it. Mend the chain around the hole: skip the
-- holes before this one, then either step the last offset back or note this
-- hole for the entry that names it.
local before = found[1][2][6]
while true do
  local skip = redis.call('HGET', KEYS[2], before)
  if not skip then break end
  redis.call('HDEL', KEYS[2], before)
  before = skip
end
if redis.call('HGET', KEYS[2], 'last') == id then
  if before == '0-0' then
    redis.call('HDEL', KEYS[2], 'last')
  else
    redis.call('HSET', KEYS[2], 'last', before)
  end
  return {'1'}
end
if redis.call('HLEN', KEYS[2]) > 100 then
  -- Forgetting old holes bounds the hash; the worst it does is a gap reported
  -- to a browser that was away since before them.
  for _, field in ipairs(redis.call('HKEYS', KEYS[2])) do
    if string.find(field, '-', 1, true) then redis.call('HDEL', KEYS[2], field) end
  end
end
redis.call('HSET', KEYS[2], id, before)
return {'1'}
