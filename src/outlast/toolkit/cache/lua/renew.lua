-- Let the lease last longer, if it is held. ARGV: id, seconds. Returns 1 or 0.
if lease_id() ~= ARGV[3] then return 0 end
take_lease(ARGV[3], tonumber(ARGV[4]))
return 1
