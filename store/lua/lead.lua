-- Takes or renews the intake lease.
-- KEYS  leader, term
-- ARGV  holder, lease ms
-- Returns {term}, or nothing while another holds it.
local term, holder = string.match(redis.call('GET', KEYS[1]) or '', '^(%d+)|(.*)$')
if term then
  if holder ~= ARGV[1] then return {} end
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
  return {term}
end
-- Terms start from the clock so that they grow also when the data was lost.
term = math.max(clock(), tonumber(redis.call('GET', KEYS[2]) or '0') + 1)
term = string.format('%.0f', term)
redis.call('SET', KEYS[2], term)
redis.call('SET', KEYS[1], term .. '|' .. ARGV[1], 'PX', ARGV[2])
return {term}
