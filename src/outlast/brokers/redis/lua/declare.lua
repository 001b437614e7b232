-- Declare queues with their limits. Needs base, moves.
-- ARGV[3] app; ARGV[4..] (limits, declaration, operators' changes that the limits include) of each key.
-- Result: 'OK', or {index, 'owner', app} for a queue of another app, {index, 'changed'} if the changes are others now:
-- nothing was changed then.
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
