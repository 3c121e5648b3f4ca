-- Records a socket again, unless a later registration has taken its place. Returns "1" when
-- the registration was not there.
-- KEYS  presence
-- ARGV  socket, incarnation, token, age µs, node
local since = clock() - tonumber(ARGV[4])
local value = redis.call('HGET', KEYS[1], ARGV[1])
if value then
  local node, number, at, token = string.match(value, '^([^|]*)%.(%d+)|(%d+)|(.*)$')
  if node == ARGV[5] and token == ARGV[3] then
    if node .. '.' .. number == ARGV[2] then return {'0'} end
    since = tonumber(at) -- recorded in an earlier stay of the node: it keeps its place
  elseif at and tonumber(at) > since then
    return {'0'}
  end
end
redis.call('HSET', KEYS[1], ARGV[1], string.format('%s|%.0f|%s', ARGV[2], since, ARGV[3]))
return {'1'}
