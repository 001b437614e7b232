-- The exchanges and bindings: changed only in place of the version that the change was made from. Needs clock, version.
-- Of D  bindings: hash: 'version'; 'e' and the name of an exchange -> core.exchanges.values.Exchange as JSON; 'b' and
--       core.exchanges.changes.row_of a binding -> core.exchanges.values.Binding as JSON
-- ARGV[3] the version that the change was made from; ARGV[4] the number of fields to write; ARGV[5..] (field, value) each,
-- then fields to remove. Result: 1, or 0 for another version, with nothing changed.
-- A version is a time, so that none comes back after the server was flushed: a client may know a version from before.
local key, fields, known = D .. ':bindings', 4 + 2 * ARGV[4], version()
if known ~= tonumber(ARGV[3]) then return 0 end
for i = 5, fields, 2 do call('HSET', key, ARGV[i], ARGV[i + 1]) end
for i = fields + 1, #ARGV do call('HDEL', key, ARGV[i]) end
call('HSET', key, 'version', fmt('%.0f', max(known + 1, micros)))
return 1
