-- Removes one registration, not a later one of the same socket id.
-- KEYS  marks, presence
-- ARGV  offset taken or "", marks ms, socket, node, token
local value = redis.call('HGET', KEYS[2], ARGV[3])
if value then
  local node, token = string.match(value, '^([^|]*)%.%d+|%d+|(.*)$')
  if node == ARGV[4] and token == ARGV[5] then redis.call('HDEL', KEYS[2], ARGV[3]) end
end
if ARGV[1] ~= '' then take(KEYS[1], ARGV[1], ARGV[2]) end
return {}
