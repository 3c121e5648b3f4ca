-- take
-- plain reports whether a text is a 64-bit number as offsets have it.
local function plain(n)
  return n == '0' or string.match(n, '^[1-9]%d*$') and (#n < 20 or #n == 20 and n <= '18446744073709551615')
end

-- delivered is the user's delivered offset. A value of another form was written by another
-- program: it is deleted, so that one user does not fail a call for many.
local function delivered(marks)
  local taken = redis.pcall('HGET', marks, 'taken') or '0-0'
  local epoch, seq = '', ''
  if type(taken) ~= 'table' then epoch, seq = string.match(taken, '^(%d+)%-(%d+)$') end
  if not (epoch and plain(epoch) and plain(seq)) then
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
