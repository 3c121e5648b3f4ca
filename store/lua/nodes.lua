-- KEYS  nodes, joins
return members(KEYS[1], KEYS[2], math.floor(clock() / 1000), {})
