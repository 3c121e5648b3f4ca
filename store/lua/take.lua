-- take moves the user's delivered offset to the end of a range that a socket was
-- given, if it lies within: never back, and never over what no socket was given.
-- A value of another form was written by another program. It is deleted, so that the other
-- users of the same call are not refused with this one.
local function take(marks, from, to, ttl)
  local taken = redis.pcall('HGET', marks, 'taken') or '0-0'
  if type(taken) == 'table' or not string.match(taken, '^%d+%-%d+$') then
    redis.call('DEL', marks)
    taken = '0-0'
  end
  if after(from, taken) or not after(to, taken) then return end
  redis.call('HSET', marks, 'taken', to)
  redis.call('PEXPIRE', marks, ttl)
end
