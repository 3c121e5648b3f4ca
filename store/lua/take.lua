-- take
-- delivered is the user's delivered offset. A value of another form was written by another
-- program: it is deleted, so that one user does not fail a call for many.
local function delivered(marks)
  local taken = redis.pcall('HGET', marks, 'taken') or '0-0'
  if type(taken) == 'table' or not string.match(taken, '^%d+%-%d+$') then
    redis.call('DEL', marks)
    taken = '0-0'
  end
  return taken
end

-- take moves it to the end of a range that a socket was given, if it lies within: never back,
-- and never over what no socket was given.
local function take(marks, from, to, ttl)
  local taken = delivered(marks)
  if after(from, taken) or not after(to, taken) then return end
  redis.call('HSET', marks, 'taken', to)
  redis.call('PEXPIRE', marks, ttl)
end
