-- KEYS  marks
-- ARGV  offset, marks ms
take(KEYS[1], ARGV[1], ARGV[2])
return {}
