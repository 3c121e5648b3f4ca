-- Makes a term the one that may write the checkpoint.
-- KEYS  term
-- ARGV  term
-- Returns "1", or "0" when a greater one was claimed.
if tonumber(redis.call('GET', KEYS[1]) or '0') > tonumber(ARGV[1]) then return {'0'} end
redis.call('SET', KEYS[1], ARGV[1])
return {'1'}
