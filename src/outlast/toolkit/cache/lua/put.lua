-- Keep a value and void the lease. ARGV: fresh, kept (seconds), packed.
keep(tonumber(ARGV[3]), tonumber(ARGV[4]), ARGV[5])
return 1
