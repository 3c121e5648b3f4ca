-- Deletes a session, unless it has become another user's.
-- KEYS  session
-- ARGV  user
local value = redis.call('GET', KEYS[1])
if not value then return {} end
local ok, session = pcall(cjson.decode, value)
if not ok or type(session) ~= 'table' or session.user == ARGV[1] then redis.call('DEL', KEYS[1]) end
return {}
