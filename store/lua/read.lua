-- KEYS  history, marks
-- ARGV  after, count
return page(KEYS[1], KEYS[2], ARGV[1], tonumber(ARGV[2]))
