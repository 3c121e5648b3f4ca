-- Removes a dead node's registration if it is still the same one.
-- KEYS  presence
-- ARGV  socket, value
if redis.call('HGET', KEYS[1], ARGV[1]) == ARGV[2] then redis.call('HDEL', KEYS[1], ARGV[1]) end
return {}
