-- KEYS  marks of each user
-- ARGV  marks ms, then the offset of each
for i = 1, #KEYS do take(KEYS[i], ARGV[i + 1], ARGV[1]) end
return {}
