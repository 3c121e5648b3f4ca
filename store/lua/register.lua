-- Records a socket, then reads what it missed.
-- KEYS  history, marks, presence
-- ARGV  after, count, socket, incarnation, token
redis.call('HSET', KEYS[3], ARGV[3], string.format('%s|%.0f|%s', ARGV[4], clock(), ARGV[5]))
-- From here on every message kept so far may have been read: see withdraw.
local last = redis.call('HGET', KEYS[2], 'last')
if last then redis.call('HSET', KEYS[2], 'seen', last) end
return page(KEYS[1], KEYS[2], ARGV[1], tonumber(ARGV[2]))
