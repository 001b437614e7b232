-- End the lease, if it is held. ARGV: id.
if lease_id() ~= ARGV[3] then return 0 end
call('DEL', KEYS[2])
call('PUBLISH', ARGV[2], 'flight')
return 1
