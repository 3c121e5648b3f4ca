-- Looks at the value that a node left here, and leaves another. Returns "1" when it is the
-- expected one on the server that had it, and what tells this server's data from another's.
-- KEYS  value
-- ARGV  two values, one of which is expected; what told the data then; value to leave, or "" to
--       leave none; its ms
local info, data = redis.pcall('INFO', 'replication'), ''
if type(info) == 'string' then data = string.match(info, 'master_replid:(%w+)') or '' end
local value = redis.call('GET', KEYS[1]) or ''
if ARGV[4] ~= '' then redis.call('SET', KEYS[1], ARGV[4], 'PX', ARGV[5]) end
local same = value ~= '' and data == ARGV[3] and (value == ARGV[1] or value == ARGV[2])
return {same and '1' or '0', data}
