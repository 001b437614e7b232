-- Apply commands in order, in one step. Needs base, moves, succeed, admit, relimit.
-- ARGV[3] limits of an undeclared queue; ARGV[4] msgpack: (name, queue's key, ...) each:
--   cancel | redrive | now | moved | unhold: id; spoil: index in ARGV of the id of a
--     running job that the caller cannot read; purge: id, states or ''         pause: 1 or 0
--   edit: id, arguments or false, priority or -1, run_at or false, the arguments before the edit or false
--   adjust: limits and changes as indices in ARGV, the changes before it
--   some: ids to purge, states or '', key or false, 1 to remove running jobs too, the last acceptance number to purge
--   prune: the most records
--   forget: key                                              hold: id, why
--   adopt: id, index of its record, at, rank, attempt, crashes, failures, why, 1 if it has begun, its effects or ''
-- Result: (ok, changed, why, parcel or false) each. {'changed'} alone: the values before an edit or an adjustment are
-- others now; nothing was changed.
local commands, out = munpack(ARGV[4]), {}
local function answer(ok, changed, why, parcel) out[#out + 1] = { ok and 1 or 0, changed or 0, why or '', parcel or false } end
local function went(j) return j.st == 'c' and j.reason == 'moved' end
local function flag(j)
  if not j.cancelling then
    j.cancelling = true
    call('SADD', j.q.P .. ':x', j.sid)
    touch(j)
  end
end
local function waits_not(j)         -- why it is not waiting
  if ended(j) then return 'ended' end
  if j.st == 'R' then return 'running' end
end
local function effects_in(notes)   -- '': they cannot be read
  if not notes then return false end
  local read, found = pcall(munpack, notes)
  if not (read and type(found) == 'table') then return '' end
  return found.once or false
end
local function reparse(j, b)        -- after its record was rewritten
  rewrite(j, b)
  j.flags = string.byte(b, 28)
  j.klen, j.xlen = sunpack('>BI4', b, 29)
  j.expires, j.args_at = nil, 34 + j.klen + j.xlen
  if j.flags % 8 >= 4 then j.expires = sunpack('>d', b, 34); j.args_at = j.args_at + 8 end
  j.run_at, j.prio = sunpack('>d', b, 11), string.byte(b, 27)
  j.size = #b - j.args_at + 1
end

local does = {}
function does.cancel(j)
  if ended(j) then return answer(false, 0, 'ended') end
  if j.st == 'R' then flag(j); return answer(true, 1) end
  let_go(j, true)
  j.settled = 0
  finish(j, 'c', 'cancelled')
  prune(j.q, 100)
  answer(true, 1)
end
function does.redrive(j)
  local st, q = state_of(j), j.q
  if st == 's' then return answer(false, 0, 'ended') end
  if went(j) then return answer(false, 0, 'moved') end
  if not (st == 'd' or st == 'c' or st == 'e') then return answer(false, 0, 'not-ended') end
  local retakes = j.uniq and not j.uniq_until
  if retakes then
    local id = holder_of(q, j.uniq)
    if id and id ~= j.sid then return answer(false, 0, 'conflict') end
  end
  if ended(j) then
    retained(j)
    size_counts(j, 1)
    if j.rtil > 0 then call('HDEL', q.P .. ':res', j.sid) end
    j.reason, j.fin, j.rtil = nil, 0, 0
  else lift(j) end
  if retakes then take_key(j) end
  local b, flags = j.b, j.flags
  local rest_at = 34
  if flags % 8 >= 4 then flags = flags - 4; rest_at = 42 end
  reparse(j, sub(b, 1, 10) .. spack('>d', now) .. sub(b, 19, 27) .. string.char(flags) .. sub(b, 29, 33) .. sub(b, rest_at))
  j.attempt, j.crashes, j.begun, j.cancelling, j.settled = 1, 0, false, false, 0
  local notes = call('HGET', q.P .. ':n', j.sid)
  if notes then
    notes = table_in(notes)
    notes.usage = nil
    if next(notes) then call('HSET', q.P .. ':n', j.sid, mpack(notes)) else call('HDEL', q.P .. ':n', j.sid) end
  end
  j.rank = rank_of(now, j.prio)
  put(j, now, 'S')
  answer(true, 1)
end
function does.edit(j, c)
  local args, prio, run_at = c[4], c[5], c[6] or nil
  local over, why = ended(j), waits_not(j)
  if why and not (over and j.st ~= 's' and not run_at and not went(j)) then return answer(false, 0, why) end
  local b, old = j.b, j.prio
  if args then b = sub(b, 1, j.args_at - 1) .. args end
  if prio >= 0 then b = sub(b, 1, 26) .. string.char(prio) .. sub(b, 28) end
  if over then reparse(j, b); return answer(true, 1) end
  local heir = j.st == 'W'
  if not heir then lift(j) end
  size_counts(j, -1)
  if run_at then b = sub(b, 1, 10) .. spack('>d', run_at) .. sub(b, 19) end
  reparse(j, b)
  if run_at then j.rank = rank_of(run_at, j.prio)
  else j.rank = j.rank + trunc(((1 - old) * 60 - (1 - j.prio) * 60) * 1000) end
  size_counts(j, 1)
  if heir then j.at = run_at or j.at else put(j, run_at or j.at, run_at and 'S' or j.st) end
  answer(true, 1)
end
function does.now(j)
  local why = waits_not(j)
  if why then return answer(false, 0, why) end
  if j.at <= now then return answer(false, 0, 'not-waiting') end
  lift(j)
  j.rank = min(j.rank, rank_of(now, j.prio))
  put(j, now, 'S')
  answer(true, 1)
end
function does.purge(j, c)
  if c[4] and c[4] ~= '' and not string.find(c[4], state_of(j), 1, true) then
    local st = state_of(j)
    local over = st == 's' or st == 'd' or st == 'c' or st == 'e'
    return answer(false, 0, over and 'ended' or 'not-ended')
  end
  remove(j, true)
  answer(true, 1)
end
function does.hold(j, c)
  local why, q = waits_not(j), j.q
  if why then return answer(false, 0, why) end
  if j.st == 'W' and j.reason ~= c[4] then return answer(false, 0, 'held') end
  if j.st ~= 'W' then
    let_go(j, true)
    j.settled = 0
    lift(j)
    j.st, j.reason = 'W', c[4]
    q.s[S_WAIT] = q.s[S_WAIT] + 1
  end
  local mine = j.uniq and holder_of(q, j.uniq) == j.sid
  local failures, notes = call('HGET', q.P .. ':f', j.sid), call('HGET', q.P .. ':n', j.sid)
  answer(true, 1, '', { j.b, fmt('%.17g', j.at), fmt('%.0f', j.rank), j.attempt, j.crashes, has_begun(j) and 1 or 0, failures or false,
    mine and 1 or 0, effects_in(notes) })
end
function does.moved(j)
  if j.st ~= 'W' then return answer(false, 0, ended(j) and 'ended' or 'not-waiting') end
  j.settled = -1
  finish(j, 'c', 'moved', false, false)
  prune(j.q, 100)
  answer(true, 1)
end
function does.unhold(j)
  if j.st ~= 'W' then return answer(false, 0, ended(j) and 'ended' or 'not-waiting') end
  lift(j)
  j.reason = nil
  put(j, j.at, 'S')
  answer(true, 1)
end

local function adopt(P, c)
  local q, sid = make(P, ARGV[3]), c[3]
  local before = job(q, sid)
  if before and went(before) then remove(before, false); sync(q); q.jobs[sid] = nil end
  local past = call('HGET', P .. ':p', sid)
  if select(2, past_of(past)) == -1 then call('HDEL', P .. ':p', sid) end
  local refused = accept(q, sid, ARGV[c[4]], false, false, true)
  if refused then
    if refused[2] == 'id' and (refused[4] == '' or refused[4] == kind_in(ARGV[c[4]], 24)) then return answer(true, 0) end
    return answer(false, 0, 'conflict')
  end
  local j = q.jobs[sid]
  j.at, j.rank, j.attempt, j.crashes, j.reason, j.begun = c[5], c[6], c[7], c[8], c[10], c[11] == 1
  if #c[9] > 0 then call('HSET', P .. ':f', sid, mpack(c[9])) end
  if c[12] ~= '' then call('HSET', P .. ':n', sid, mpack({ once = c[12] })) end
  touch(j)
  answer(true, 1)
end

for _, c in ipairs(commands) do         -- compare the values before the edits and adjustments
  local P = KEYS[1 + c[2]]
  if c[1] == 'edit' and c[7] then
    local q = open(P)
    local j = q and job(q, c[3])
    if j and not (c.seen or j.bad) and sub(j.b, j.args_at) ~= c[7] then return { 'changed' } end
  elseif c[1] == 'adjust' and (call('HGET', P .. ':c', 'changes') or '') ~= c[5] then return { 'changed' } end
end
for _, c in ipairs(commands) do
  local name, P = c[1], KEYS[1 + c[2]]
  local q = open(P)
  if name == 'adopt' then adopt(P, c)
  elseif not q then answer(false, 0, 'unknown')
  elseif name == 'pause' then
    local on = c[3] == 1
    if q.paused ~= on then call('HSET', P .. ':c', 'paused', c[3]) end
    answer(true, q.paused ~= on and 1 or 0)
    q.paused = on
    if not on then q.ready = q.ready + q.s[S_READY] end
  elseif name == 'adjust' then
    local changed = call('HGET', P .. ':c', 'limits') ~= ARGV[c[3]]
    call('HSET', P .. ':c', 'changes', ARGV[c[4]])
    relimit(q, ARGV[c[3]])
    answer(true, changed and 1 or 0)
  elseif name == 'forget' then      -- a key without jobs: remove its turn and its rate
    local lane = lane_of(q, c[3])
    if lane.n == 0 and lane.run == 0 then
      if lane.where >= 2 then call('ZREM', P .. ':park', in_turn(lane)) end
      if lane.where == 1 then q.s[S_STALE] = q.s[S_STALE] + 1 end
      lane.where, lane.tat, lane.given = 0, 0, 0
    end
    answer(true, 0)
  elseif name == 'prune' then answer(true, prune(q, c[3]))
  elseif name == 'some' then
    load(q, c[3])
    local n = 0
    for _, sid in ipairs(c[3]) do
      local j = q.jobs[sid]
      if j and j.order <= c[7] and (c[4] == '' or string.find(c[4], state_of(j), 1, true)) and (not c[5] or j.key == c[5]) then
        if j.st == 'R' and c[6] ~= 1 then flag(j) else remove(j, true) end
        n = n + 1
      end
    end
    answer(true, n)
  else
    local j = job(q, name == 'spoil' and ARGV[c[3]] or c[3])
    local heir = j and succeeds(j)
    if not j then answer(false, 0, 'unknown')
    elseif name == 'spoil' then
      if j.st == 'R' then               -- else it was done before, or its lease lapsed
        rest(j)
        spoil(j)
      end
      answer(true, 1)
    elseif j.bad and name == 'cancel' and j.st ~= 'R' and not ended(j) then
      spoil(j, j.st == 'Q' and line_of(j) or nil)
      answer(true, 1)
    elseif j.bad and name ~= 'purge' and name ~= 'cancel' then answer(false, 0, 'unreadable')
    elseif heir and (name == 'now' or name == 'hold' or name == 'moved' or name == 'unhold') then answer(false, 0, 'successor')
    elseif not heir and j.st == 'W' and (name == 'cancel' or name == 'redrive' or name == 'edit' or name == 'now') then answer(false, 0, 'held')
    else does[name](j, c) end
  end
  if q then
    sync(q)
    succeed(q)
  end
end
count_orders()
flush()
return out
