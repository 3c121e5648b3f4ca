-- KEYS  leader, checkpoint
-- ARGV  "<term>|<holder>", offset
-- Returns "1" when the caller leads in this term, "0" otherwise.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return {'0'} end
local now = redis.call('GET', KEYS[2])
if not now or after(ARGV[2], now) then redis.call('SET', KEYS[2], ARGV[2]) end
return {'1'}
