-- members lists the nodes whose lease lives: the newest join number ever given,
-- then each incarnation and the milliseconds its lease has left, appended to out.
local function members(nodes, joins, now, out)
  out[#out + 1] = redis.call('GET', joins) or '0'
  local list = redis.call('ZRANGE', nodes, 0, -1, 'WITHSCORES')
  for i = 1, #list, 2 do
    local left = tonumber(list[i + 1]) - now
    if left > 0 then
      out[#out + 1] = list[i]
      out[#out + 1] = string.format('%.0f', left)
    end
  end
  return out
end
