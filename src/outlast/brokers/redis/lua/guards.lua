-- The shared state of guards: a change is stored only in place of the value from which it was made. Needs clock.
-- Of D  guards: hash name -> core.guards.record.GuardRecord as JSON, swaps: number of stored changes.
-- ARGV[3] 'get': Result: now, then name, value each.
--   'put': ARGV[4..] (name, value it was made from or '', value) each. Result: 1 or 0 each; 0: another value is stored.
local out, key = {}, D .. ':guards'
if ARGV[3] == 'get' then
  out = call('HGETALL', key)
  table.insert(out, 1, fmt('%.17g', now))
  return out
end
local stored = 0
for i = 4, #ARGV, 3 do
  local same = (call('HGET', key, ARGV[i]) or '') == ARGV[i + 1]
  if same then
    call('HSET', key, ARGV[i], ARGV[i + 2])
    stored = stored + 1
  end
  out[#out + 1] = same and 1 or 0
end
if stored > 0 then
  if not pcall(call, 'INCRBY', D .. ':swaps', stored) then call('SET', D .. ':swaps', stored) end
  call('PUBLISH', D .. ':swapped', 'guards')
end
return out
