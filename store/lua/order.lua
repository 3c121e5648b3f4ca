-- after reports whether offset a comes after offset b. Both are
-- "<milliseconds>-<sequence>" without leading zeros, so the number with more
-- digits is the greater one and equal lengths compare as text: exact for every
-- 64-bit value, which Lua's own numbers are not.
local function after(a, b)
  local i, j = string.find(a, '-', 1, true), string.find(b, '-', 1, true)
  if i == j and #a == #b then return a > b end -- nearly always
  if i ~= j then return i > j end
  local x, y = string.sub(a, 1, i), string.sub(b, 1, j)
  if x ~= y then return x > y end
  return #a > #b
end
