-- Renews a node's lease, or lets it join under a new incarnation.
-- KEYS  nodes, joins
-- ARGV  node, its incarnation or "", lease ms
-- Returns {incarnation, then the members}.
local us = clock()
local now = math.floor(us / 1000)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)

local mine = ARGV[2]
if mine == '' or not redis.call('ZSCORE', KEYS[1], mine) then
  -- A process that starts again under its name voids what its predecessor left.
  local prefix = ARGV[1] .. '.'
  for _, other in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
    if string.sub(other, 1, #prefix) == prefix then redis.call('ZREM', KEYS[1], other) end
  end
  -- Join numbers come from the clock, so that emptied data does not give one
  -- out twice, and only grow, also when a failover sets the clock back.
  local join = math.max(us, tonumber(redis.call('GET', KEYS[2]) or '0') + 1)
  local text = string.format('%.0f', join)
  redis.call('SET', KEYS[2], text)
  mine = prefix .. text
end
redis.call('ZADD', KEYS[1], string.format('%.0f', now + tonumber(ARGV[3])), mine)
return members(KEYS[1], KEYS[2], now, {mine})
