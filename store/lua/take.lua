-- take moves the mark of what the user has received, never back.
local function take(marks, offset, ttl)
  local taken = redis.call('HGET', marks, 'taken')
  if taken and not after(offset, taken) then return end
  redis.call('HSET', marks, 'taken', offset)
  redis.call('PEXPIRE', marks, ttl)
end
