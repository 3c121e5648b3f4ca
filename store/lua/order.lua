-- after reports whether offset a comes after offset b. Both are
-- "<milliseconds>-<sequence>" without leading zeros, so the number with more
-- digits is the greater one and equal lengths compare as text: exact for every
-- 64-bit value, which Lua's own numbers are not.
local function after(a, b)
  if a == b then return false end
  local x, xs = string.match(a, '^(%d+)-(%d+)$')
  local y, ys = string.match(b, '^(%d+)-(%d+)$')
  if x == y then x, y = xs, ys end
  return #x > #y or (#x == #y and x > y)
end
