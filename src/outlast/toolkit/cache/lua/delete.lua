-- Remove the entry and void the lease. Returns the entry without its times, false without one.
local raw = read(KEYS[1], 16)
call('DEL', KEYS[1])
if call('DEL', KEYS[2]) == 1 then call('PUBLISH', ARGV[2], 'flight') end
return raw and string.sub(raw, 17) or false
