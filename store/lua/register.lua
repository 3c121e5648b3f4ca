-- register
-- Records a socket. Returns the user's delivered offset, the registration of the same id
-- before, or "", and how many sockets are recorded.
-- KEYS  marks, presence
-- ARGV  socket, incarnation, token
local replaced = redis.call('HGET', KEYS[2], ARGV[1])
redis.call('HSET', KEYS[2], ARGV[1], string.format('%s|%.0f|%s', ARGV[2], clock(), ARGV[3]))
return {delivered(KEYS[1]), replaced or '', tostring(redis.call('HLEN', KEYS[2]))}
