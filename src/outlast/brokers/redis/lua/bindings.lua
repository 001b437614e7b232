-- The exchanges and bindings: changed only in place of the version that the change was made from. Needs clock, version.
-- Of D  bindings: hash: 'version'; 'e' and the name of an exchange -> core.exchanges.values.Exchange as JSON; 'b' and
--       core.exchanges.changes.row_of a binding -> core.exchanges.values.Binding as JSON
-- ARGV[3] 'get': Result: (field, value) each. 'version': Result: the version as text.
--   'put': ARGV[4] the version that the change was made from; ARGV[5] the number of fields to write; ARGV[6..] (field, value)
--   each, then fields to remove. Result: 1, or 0 for another version, with nothing changed.
-- A version is a time, so that none comes back after the server was flushed: a client may know a version from before.
local key, lost = D .. ':bindings', reborn()
if lost then return lost end
if ARGV[3] == 'get' then return call('HGETALL', key) end
local known = version()
if ARGV[3] == 'version' then return fmt('%.0f', known) end
if known ~= tonumber(ARGV[4]) then return 0 end
local fields = 5 + 2 * ARGV[5]
for i = 6, fields, 2 do call('HSET', key, ARGV[i], ARGV[i + 1]) end
for i = fields + 1, #ARGV do call('HDEL', key, ARGV[i]) end
call('HSET', key, 'version', fmt('%.0f', max(known + 1, micros)))
return 1
