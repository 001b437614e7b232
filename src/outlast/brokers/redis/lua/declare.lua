-- Declare queues with their limits. Needs base, moves.
-- ARGV[3] app; ARGV[4..] (limits, declaration, operators' changes that the limits include, msgpack list of the kinds whose
-- ended jobs are counted by name) of each key.
-- Result: 'OK', or {index, 'owner', app} for a queue of another app, {index, 'changed'} if the changes are others now:
-- nothing was changed then.
local MOST = 6006                   -- core.store.totals.MOST_KINDS and "other", six outcomes of each
local function count_kinds(key, kinds)
  local n = call('HLEN', key)
  for i, kind in ipairs(kinds) do
    if (n < MOST or i == 1) and call('HSETNX', key, 's' .. kind, 0) + call('HSETNX', key, 'd' .. kind, 0)
      + call('HSETNX', key, 'c' .. kind, 0) + call('HSETNX', key, 'e' .. kind, 0) + call('HSETNX', key, 'h' .. kind, 0)
      + call('HSETNX', key, 'r' .. kind, 0) > 0 then n = call('HLEN', key) end
  end
end
local app = ARGV[3]
for i = 2, #KEYS do
  local got = call('HMGET', KEYS[i] .. ':c', 'app', 'changes')
  if got[1] and got[1] ~= '' and app ~= '' and got[1] ~= app then return { i - 2, 'owner', got[1] } end
  if (got[2] or '') ~= ARGV[4 * i - 2] then return { i - 2, 'changed' } end
end
for i = 2, #KEYS do
  local limits, declared = ARGV[4 * i - 4], ARGV[4 * i - 3]
  local q = make(KEYS[i], limits)
  if app ~= '' then call('HSET', q.P .. ':c', 'app', app) end
  call('HSET', q.P .. ':c', 'declared', declared)
  relimit(q, limits)
  count_kinds(q.P .. ':t', munpack(ARGV[4 * i - 1]))
end
flush()
return 'OK'
