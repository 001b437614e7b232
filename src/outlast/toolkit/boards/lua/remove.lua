-- Remove a member. ARGV: member. Returns {1} if it was there.
return {call('ZREM', KEYS[1], ARGV[6])}
