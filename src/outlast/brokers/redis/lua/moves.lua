-- The moves of one job between its states, as in brokers/memory/tables.py. Needs base, retain, jobs.

local function size_counts(j, by)
  local s = j.q.s
  s[S_DEPTH] = s[S_DEPTH] + by
  s[S_BYTES] = s[S_BYTES] + by * j.size
  if j.key then
    local lane = lane_of(j.q, j.key)
    lane.depth = lane.depth + by
    lane.bytes = lane.bytes + by * j.size
  end
end
local function rewrite(j, b)        -- replace its record
  j.b, j.rewritten = b, true
  touch(j)
end
local function set_flags(j, flags)
  j.flags = flags
  rewrite(j, sub(j.b, 1, 27) .. string.char(flags) .. sub(j.b, 29))
end

-- Unique keys
local function holder_of(q, uniq)   -- the id of the job that holds it now, nil for none
  local x = key_entry(q, uniq)
  if x and x[2] > now then return x[1] end
end
local function take_key(j)
  if j.uniq then
    call('HSET', j.q.P .. ':u', j.uniq, mpack({ j.sid, j.uniq_until or math.huge }))
    if j.uniq_until then call('ZADD', j.q.P .. ':ut', j.uniq_until, j.uniq) end
  end
end
local function free_key(j, when)
  if not j.uniq then return end
  if when ~= 'purge' and (j.uniq_until or (when == 'start' and not j.at_start)) then return end
  local held = key_entry(j.q, j.uniq)
  if held and held[1] == j.sid then
    call('HDEL', j.q.P .. ':u', j.uniq)
    if j.uniq_until then call('ZREM', j.q.P .. ':ut', j.uniq) end
  end
end

local function put(j, at, st)       -- ready if it is due, else in state `st` until then
  local q = j.q
  j.at = at
  if at <= now then stand(j)
  else
    j.st = st
    later(q, 'ZADD :due', at, member(j))
    if at - now < 1 then q.ready = q.ready + 1 end      -- due before the next poll of a waiter
    if st == 'K' then
      local kind = kind_of(j)
      q.s[S_PARKED] = q.s[S_PARKED] + 1
      q.ready = q.ready + 1                              -- another worker may know the kind
      call('SADD', q.P .. ':pk:' .. kind, j.sid)
      add(q.P .. ':pk', kind, 1)
    end
  end
  touch(j)
end
local function promote(q)           -- make due jobs ready
  local members = call('ZRANGEBYSCORE', q.P .. ':due', '-inf', now, 'LIMIT', 0, 5000)
  if #members == 0 then return end
  local sids = {}
  for i = 1, #members do sids[i] = sub(members[i], 15) end
  load(q, sids)
  many('ZREM', q.P .. ':due', members)
  for i = 1, #sids do
    local j = q.jobs[sids[i]]
    if j and j.bad then spoil(j)
    elseif j and (j.st == 'S' or j.st == 'K') then
      if j.st == 'K' then
        local kind = kind_of(j)
        q.s[S_PARKED] = q.s[S_PARKED] - 1
        call('SREM', q.P .. ':pk:' .. kind, j.sid)
        if add(q.P .. ':pk', kind, -1) <= 0 then call('HDEL', q.P .. ':pk', kind) end
      end
      if j.flags >= 8 then set_flags(j, j.flags - 8) end
      stand(j)
      touch(j)
    end
  end
  sync(q)
end
local function let_go(j, superseded)    -- remove it from its holder; a superseded fence is added to the holder's lost jobs
  if j.holder then
    later(j.q, 'SREM :h:' .. j.holder, j.sid)
    if superseded then
      local key = D .. ':lost:' .. j.holder
      call('RPUSH', key, mpack({ j.q.name, j.sid, j.token, j.order }))
      call('EXPIRE', key, 7200)
    end
  end
  j.holder, j.lapsed, j.open = nil, false, false
  touch(j)
end
-- End it and start its retention. as: what it counts as in the totals, its state if nil; false: it does not.
local function finish(j, st, reason, quiet, as)
  local q = j.q
  lift(j)
  if as ~= false then count_end(q, kind_of(j), as or st, 1) end
  size_counts(j, -1)
  if not quiet then drain(q, 1) end
  if j.cancelling then call('SREM', q.P .. ':x', j.sid) end
  j.st, j.reason, j.fin, j.cancelling = st, reason, now, false
  free_key(j, st == 'c' and reason ~= 'moved' and 'purge' or 'finish')     -- cancelled: it will not do its work
  later(q, st == 'd' and 'ZADD :dead' or j.rtil > 0 and 'ZADD :kept' or 'ZADD :ended', j.rtil > 0 and j.rtil or end_of(q), j.sid)
  notify[#notify + 1] = { q, j.sid }
  touch(j)
end
spoil = function(j, line)           -- end a job that cannot be read. line: the line that it was in, if it was in one
  local q = j.q
  if line then
    line.n = line.n - 1
    q.s[S_READY] = q.s[S_READY] - 1
    if line ~= q.plain then j.key = line.key end
  end
  if j.st == 'K' then q.s[S_PARKED] = q.s[S_PARKED] - 1 end
  j.st, j.rtil, j.inz, j.ghost = 'R', 0, false, false     -- it is in no line any more
  let_go(j, true)
  j.settled = 0
  finish(j, 'd', 'unreadable', true)
end
local function retained(j)          -- remove it from the ended jobs: an earlier command has written it there
  local q = j.q
  call('ZREM', q.P .. ':ended', j.sid); call('ZREM', q.P .. ':dead', j.sid); call('ZREM', q.P .. ':kept', j.sid)
end
local function rest(j)              -- end the run of a running job
  begin(j.q, j.key, -1)
  freed(j.q, j.key)
end
local function remember(j, settled)
  local upto = j.acc + j.q.limits[L_MEMORY]
  if upto > now then keep_id(j.q, j.sid, upto, settled, #j.sid ~= 32 and kind_of(j) or '') end
end
erase = function(j, settled)    -- remove all its data except its id
  local q, P, sid = j.q, j.q.P, j.sid
  later(q, 'HDEL :b', sid)
  if j.had or j.dirty then later(q, 'HDEL :d', sid) end
  if exists(q, ':res') then later(q, 'HDEL :res', sid) end
  if exists(q, ':f') then later(q, 'HDEL :f', sid) end
  if exists(q, ':n') then later(q, 'HDEL :n', sid) end
  if j.cancelling then call('SREM', P .. ':x', sid) end
  local page = floor(j.order / PAGE)
  q.paged[page] = (q.paged[page] or 0) + 1
  remember(j, settled)
  j.gone = true
  q.jobs[sid] = false
end
local function remove(j, purge)     -- remove it permanently
  local q = j.q
  if ended(j) then retained(j)
  else
    count_end(q, kind_of(j), state_of(j) == 'e' and 'e' or 'c', 1)
    if j.st == 'R' then rest(j) else lift(j) end
    size_counts(j, -1)
  end
  let_go(j, true)
  if purge then free_key(j, 'purge') end
  erase(j, purge and 0 or j.settled)
  notify[#notify + 1] = { q, j.sid }
end
local function was_settled(q, sid, token)
  local j = job(q, sid)
  if j then return not j.open and j.settled == token end
  local past = call('HGET', q.P .. ':p', sid)
  return past and select(2, past_of(past)) == token or false
end
-- Leases
local held_by
do
local function held_in(q, holder)
  local key = q.P .. ':h:' .. holder
  if call('EXISTS', key) == 0 then return {} end
  sync(q)
  local sids, jobs = call('SMEMBERS', key), {}
  load(q, sids)
  for _, sid in ipairs(sids) do
    local j = q.jobs[sid]
    if j and j.holder == holder then jobs[#jobs + 1] = j
    else
      call('SREM', key, sid)
      if j and j.st == 'Q' and (j.bad and not j.holder or not j.had) then       -- it ran here, and its state was lost
        begin(q, j.key, -1)
        if j.bad then spoil(j) else put(j, now, 'S') end
      end
    end
  end
  return jobs
end
function held_by(q, holder)         -- the jobs that a holder holds in a queue; none of one with keys of a wrong type
  local ok, jobs = pcall(held_in, q, holder)
  return ok and jobs or {}
end
end
local function by_order(a, b) return a.order < b.order end
local lapse
do
local lapsed = false
local function lapse_in(q, holder)
  local held = held_by(q, holder)
  table.sort(held, by_order)
  for _, j in ipairs(held) do
    if j.st == 'R' then
      lapsed = true
      begin(q, j.key, -1)
      if j.cancelling then
        let_go(j, true)
        finish(j, 'c', 'cancelled')
      else
        j.crashes, j.lapsed = j.crashes + 1, true
        put(j, min(j.at, now), 'S')
      end
      freed(q, j.key)
    end
  end
end
function lapse()                    -- make the jobs of lapsed leases ready; returns whether there were any
  local holders = call('ZRANGEBYSCORE', D .. ':leases', '-inf', now, 'LIMIT', 0, 100)
  if #holders == 0 then return false end
  table.sort(holders)
  for _, holder in ipairs(holders) do
    for _, q in ipairs(every()) do pcall(lapse_in, q, holder) end       -- one with keys of a wrong type stops no other
    call('ZREM', D .. ':leases', holder)
    call('ZADD', D .. ':gone', now, holder)
  end
  local over = call('ZRANGEBYSCORE', D .. ':gone', '-inf', now - 3600, 'LIMIT', 0, 100)
  for _, holder in ipairs(over) do
    call('ZREM', D .. ':gone', holder)
    call('HDEL', D .. ':asked', holder)
    call('HDEL', D .. ':cap', holder)
  end
  for _, q in ipairs(opened) do sync(q) end
  return lapsed
end
end
local function renew(holder, lease) -- renew its lease from now, and hold its lapsed jobs again
  call('ZADD', D .. ':leases', now + lease, holder)
  if call('ZREM', D .. ':gone', holder) == 0 then return end
  for _, q in ipairs(every()) do
    local held = held_by(q, holder)
    table.sort(held, by_order)
    for _, j in ipairs(held) do
      if j.lapsed and may_begin(q, j.key) then
        lift(j)
        begin(q, j.key, 1)
        j.st, j.lapsed, j.crashes = 'R', false, j.crashes - 1
        touch(j)
      elseif j.lapsed then let_go(j, true) end
    end
    sync(q)
  end
end
