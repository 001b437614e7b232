-- Make queues known, with their limits. Needs base, moves.
-- ARGV[3] app; ARGV[4..] (limits, what was declared, changes by an operator that the limits were made with) of each key.
-- Result: 'OK', or {index, 'owner', app} of a queue of another app, {index, 'changed'} when the changes are others by now:
-- nothing has happened then.
local app = ARGV[3]
for i = 2, #KEYS do
  local got = call('HMGET', KEYS[i] .. ':c', 'app', 'changes')
  if got[1] and got[1] ~= '' and app ~= '' and got[1] ~= app then return { i - 2, 'owner', got[1] } end
  if (got[2] or '') ~= ARGV[3 * i] then return { i - 2, 'changed' } end
end
for i = 2, #KEYS do
  local limits, declared = ARGV[3 * i - 2], ARGV[3 * i - 1]
  local q = make(KEYS[i], limits)
  if app ~= '' then call('HSET', q.P .. ':c', 'app', app) end
  call('HSET', q.P .. ':c', 'declared', declared)
  relimit(q, limits)
end
flush()
return 'OK'
