-- take moves the user's delivered offset to the end of a range that a socket was
-- given, if it lies within: never back, and never over what no socket was given.
local function take(marks, from, to, ttl)
  local taken = redis.call('HGET', marks, 'taken') or '0-0'
  if after(from, taken) or not after(to, taken) then return end
  redis.call('HSET', marks, 'taken', to)
  redis.call('PEXPIRE', marks, ttl)
end
