-- Give more parked keys the look that other limits ask for. Needs clock, base, moves, relimit.
-- ARGV[3..] turn..key as they stand in park. Result: 'OK'.
local q, members = open(KEYS[2]), {}
for i = 3, #ARGV do members[i - 2] = ARGV[i] end
if q then relook(q, members) end
flush()
return 'OK'
