-- Take the lease, unless it is taken or another fresh entry than `past` is there. ARGV: id, seconds, id of past or ''.
-- Returns what `shown` says, with led = 1 if it was taken.
if lease_id() then return shown(0) end
local raw, fresh = read(KEYS[1], 16)
if raw and fresh > now and string.sub(raw, 17, 32) ~= ARGV[5] then return shown(0) end
take_lease(ARGV[3], tonumber(ARGV[4]))
return shown(1)
