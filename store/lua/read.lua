-- KEYS  history, last, marks
-- ARGV  after, count
return page(KEYS[1], KEYS[2], KEYS[3], ARGV[1], tonumber(ARGV[2]))
