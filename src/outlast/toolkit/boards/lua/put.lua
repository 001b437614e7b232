-- Set a score. ARGV: member, score, the most members. Returns as `add` does.
return put(ARGV[6], tonumber(ARGV[7]), score_of(ARGV[6]), tonumber(ARGV[8]))
