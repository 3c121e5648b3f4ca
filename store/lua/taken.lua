-- KEYS  marks of each user
-- ARGV  marks ms, then of each the range that a socket was given: from, to
for i = 1, #KEYS do take(KEYS[i], ARGV[2 * i], ARGV[2 * i + 1], ARGV[1]) end
return {}
