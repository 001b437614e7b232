-- A unique count. ARGV: what, member, the most members. Returns {1} if the member is new or there, {0}, or {-1} if full.
local what, member = ARGV[6], ARGV[7]
if what == 'size' then return {call('SCARD', KEYS[1])} end
local there = call('SISMEMBER', KEYS[1], member)
if what == 'has' or there == 1 then return {what == 'has' and there or 0} end
if call('SCARD', KEYS[1]) >= tonumber(ARGV[8]) then return {-1} end
call('SADD', KEYS[1], member)
expire()
return {1}
