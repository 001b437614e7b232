-- Check more parked keys again after a change of limits. Needs clock, base, moves, relimit.
-- ARGV[3..] members of park (turn..key). Result: 'OK'.
local q, members = open(KEYS[2]), {}
for i = 3, #ARGV do members[i - 2] = ARGV[i] end
if q then relook(q, members) end
flush()
return 'OK'
