-- Keep a value and end the lease, if it is held. ARGV: id, fresh, kept (seconds), packed. Returns 1 or 0.
if lease_id() ~= ARGV[3] then return 0 end
keep(tonumber(ARGV[4]), tonumber(ARGV[5]), ARGV[6])
return 1
