-- Before the code of a publish, for copies of events: they are kept only if the bindings that they were made by are still
-- those of this keyspace (bindings.lua). Needs clock, version. The last ARGV, their version, is removed.
-- Result for another version: 'STALE', with nothing changed.
if version() ~= tonumber(ARGV[#ARGV]) then return reborn() or 'STALE' end
ARGV[#ARGV] = nil
