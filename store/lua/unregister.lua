-- Removes one registration, not a later one of the same socket id.
-- KEYS  marks, presence
-- ARGV  the range that the socket was given, from and to, or "" twice; marks ms, socket,
--       node, token
local value = redis.call('HGET', KEYS[2], ARGV[4])
if value then
  local node, token = string.match(value, '^([^|]*)%.%d+|%d+|(.*)$')
  if node == ARGV[5] and token == ARGV[6] then redis.call('HDEL', KEYS[2], ARGV[4]) end
end
if ARGV[2] ~= '' then take(KEYS[1], ARGV[1], ARGV[2], ARGV[3]) end
return {}
