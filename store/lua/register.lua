-- Records a socket, then reads what it missed. Returns the page and, last, the
-- registration of the same id before, or "", and how many sockets are recorded.
-- KEYS  history, last, marks, presence
-- ARGV  after, count, socket, incarnation, token, marks ms
local replaced = redis.call('HGET', KEYS[4], ARGV[3])
redis.call('HSET', KEYS[4], ARGV[3], string.format('%s|%.0f|%s', ARGV[4], clock(), ARGV[5]))
-- From here on every message kept so far may have been read: see withdraw.
local last = newest(KEYS[1], KEYS[2])
if last then
  redis.call('HSET', KEYS[3], 'seen', last)
  redis.call('PEXPIRE', KEYS[3], ARGV[6])
end
local out = page(KEYS[1], KEYS[2], KEYS[3], ARGV[1], tonumber(ARGV[2]))
out[#out + 1] = replaced or ''
out[#out + 1] = tostring(redis.call('HLEN', KEYS[4]))
return out
