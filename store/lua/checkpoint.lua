-- KEYS  term, checkpoint
-- ARGV  term, offset
-- Returns "1" when this term was the last one claimed, "0" otherwise.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return {'0'} end
local now = redis.call('GET', KEYS[2])
if not now or after(ARGV[2], now) then redis.call('SET', KEYS[2], ARGV[2]) end
return {'1'}
