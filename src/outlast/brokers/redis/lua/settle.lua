-- Apply settlements. Needs base, retain, settle_plain, jobs, moves, succeed, admit, follow.
-- ARGV[3] limits of an undeclared queue; ARGV[4] msgpack: (queue, false, token, kind, id ...) of jobs that succeeded
-- without result and follow-ups, kind: of all, or a list of that of each, '' for one that is read here; and (queue, id,
-- token, what ...) of each other, where what is
--   'f'    state, reason, result or false, result TTL in seconds, failure or '', usage or '', follow-ups
--   'r'    at, attempt, crashes, failure or '', follow-ups, 1 if it has begun |
--   'l'    at or false, 1 if it has begun, why it waits or false | 'p' at
-- A follow-up: as in follow. queue: the number of its key, from 1.
-- Result: indices (from 0) of the superseded.
local FAILURES = 10
local function fail(j, failure)
  if failure == '' then return end
  local key = j.q.P .. ':f'
  local kept = {}
  for _, text in ipairs(table_in(call('HGET', key, j.sid))) do
    if type(text) == 'string' then kept[#kept + 1] = text end
  end
  kept[#kept + 1] = failure
  while #kept > FAILURES do table.remove(kept, 1) end
  call('HSET', key, j.sid, mpack(kept))
end
local function follow_all(then_)
  for _, each in ipairs(then_) do follow(each, ARGV[3]) end
end
local function wait(j, at, st)      -- wait for the next run, unless it was cancelled during this one
  if j.cancelling then finish(j, 'c', 'cancelled') else put(j, at, st) end
end

local rested = {}
local function settle(at, q, sid, token, each)
  local what = each and each[4]
  if q and q.done and q.done[sid] then sync(q) end      -- settle_plain wrote it in this call
  local j = q and job(q, sid)
  if not (j and j.open and j.token == token) then
    if not (q and was_settled(q, sid, token)) then lost[#lost + 1] = at end
    return
  end
  local ran = j.st == 'R'
  if ran then begin(q, j.key, -1); rested[#rested + 1] = j end
  if j.lapsed and (what == 'l' or what == 'p') then j.crashes = j.crashes - 1 end
  if not ran then lift(j) end
  let_go(j, false)
  j.st, j.settled = 'R', j.token
  if not what then finish(j, 's')
  elseif what == 'f' then
    fail(j, each[9])
    if each[10] ~= '' then
      local kept = table_in(call('HGET', q.P .. ':n', j.sid))
      kept.usage = each[10]
      call('HSET', q.P .. ':n', j.sid, mpack(kept))
      has[q.P .. ':n'] = true
    end
    if each[7] and each[8] > 0 and each[5] == 's' then
      call('HSET', q.P .. ':res', j.sid, each[7])
      has[q.P .. ':res'] = true
      j.rtil = now + each[8]
    end
    finish(j, each[5], each[6] ~= '' and each[6] or nil)
    follow_all(each[11])
  elseif what == 'r' then
    fail(j, each[8])
    local over = j.cancelling           -- then it ends now, without another attempt
    if not over then
      j.attempt, j.crashes, j.rank, j.begun = each[6], each[7], rank_of(each[5], j.prio), j.begun or each[10] == 1
    end
    wait(j, each[5], 'S')
    if not over then follow_all(each[9]) end
  elseif what == 'l' then
    j.begun, j.reason = j.begun or each[6] == 1, each[7] or nil
    wait(j, each[5] or min(j.at, now), 'S')
  else wait(j, each[5], 'K') end
end
for _, q in pairs(touched) do sync(q) end
for _, each in ipairs(slow) do settle(each[1], each[2] or nil, each[3], each[4], each[5]) end
for _, j in ipairs(rested) do freed(j.q, j.key) end
for _, q in pairs(touched) do succeed(q) end
for _, q in pairs(touched) do prune(q, 2 * at + 10) end
count_orders()
flush()
return lost
