-- Jobs and lanes as tables, and their lines; written back at flush. Needs base.
local decode, parse, has_begun
do
local function is_time(t) return t >= -1e12 and t <= 1e12 end       -- not NaN, not infinite
function decode(q, sid, b, d)     -- raises an error for what cannot be read
  local order, acc, run_at, enq, prio, flags, klen, xlen = sunpack('>I6I4ddBBBI4', b)
  local expires, key, uniq, at_start, uniq_until, replace, args_at
  args_at = 34 + klen + xlen
  if flags % 8 >= 4 then expires = sunpack('>d', b, 34); args_at = args_at + 8 end
  if #b < args_at or prio > 2 or flags > 15 then error('its record is short or has an unknown mark') end
  if not (is_time(run_at) and is_time(enq) and is_time(expires or 0)) then error('one of its times is none') end
  if flags % 4 > 0 then
    local x = munpack(sub(b, args_at - xlen, args_at - 1))
    if flags % 2 == 1 then key = x[1] .. '' end
    if flags % 4 >= 2 then
      uniq, at_start, uniq_until, replace = x[2] .. '', x[3], x[4] or nil, x[5]
      if not is_time(uniq_until or 0) then error('one of its times is none') end
    end
  end
  local st, rank, at, attempt, crashes, token, f, settled, fin, rtil = 'Q', nil, run_at, 1, 0, 0, 0, 0, 0, 0
  local holder, reason
  if d then
    local hlen, next_at, _
    st, rank, at, attempt, crashes, token, f, settled, fin, rtil, _, _, _, _, hlen, next_at = sunpack(BECAME, d)
    if hlen > 0 then holder = sub(d, next_at, next_at + hlen - 1) end
    if #d >= next_at + hlen then reason = sub(d, next_at + hlen) end
    if not (string.find('QSKRWsdce', st, 1, true) and attempt > 0 and is_time(at) and is_time(fin) and rank == rank) then
      error('its state cannot be read')
    end
  else
    rank = rank_of(run_at, prio)
    if flags >= 8 then st = 'S' end
  end
  return { q = q, sid = sid, b = b, order = order, acc = acc, run_at = run_at, prio = prio, flags = flags, klen = klen,
    xlen = xlen, args_at = args_at, size = #b - args_at + 1, expires = expires, enq = enq, key = key, uniq = uniq, at_start = at_start,
    uniq_until = uniq_until, replace = replace, st = st, rank = rank, at = at, attempt = attempt, crashes = crashes,
    token = token, settled = settled, fin = fin, rtil = rtil, holder = holder, reason = reason, had = d and true or false,
    begun = rtil < 0, open = f % 2 == 1, lapsed = f % 4 >= 2, cancelling = f % 8 >= 4, ghost = f % 16 >= 8, inz = f % 32 >= 16,
    dirty = false, passed = false, gone = false, rewritten = false }
end
-- A job that cannot be read (j.bad: why), as far as it can: it ends as dead ("unreadable") when a claim meets it.
local function broken(q, sid, b, d, why)
  local j = { q = q, sid = sid, b = b, bad = why, order = 0, acc = 0, run_at = 0, enq = 0, prio = 1, flags = 0, klen = 0, xlen = 0,
    args_at = #b + 1, size = 0, st = 'Q', rank = 0, at = 0, attempt = 1, crashes = 0, token = 0, settled = 0, fin = 0, rtil = 0,
    had = d and true or false, dirty = false, passed = false, gone = false, rewritten = false }
  if #b >= 10 then j.order, j.acc = sunpack('>I6I4', b) end
  local ok, st, _, _, attempt, crashes, token, f, settled, fin, rtil, order, acc, size, _, hlen, next_at = pcall(sunpack, BECAME, d)
  if d and ok and string.find('QSKRWsdce', st, 1, true) and is_time(fin) and is_time(rtil) then
    j.st, j.attempt, j.crashes, j.token, j.settled, j.fin, j.rtil = st, max(attempt, 1), crashes, token, settled, fin, rtil
    j.order, j.acc, j.size, j.open, j.lapsed, j.cancelling = order, acc, size, f % 2 == 1, f % 4 >= 2, f % 8 >= 4
    j.ghost, j.inz = f % 16 >= 8, f % 32 >= 16
    if hlen > 0 then j.holder = sub(d, next_at, next_at + hlen - 1) end
    if #d >= next_at + hlen then j.reason = sub(d, next_at + hlen) end
  end
  return j
end
function parse(q, sid, b, d)
  local ok, j = pcall(decode, q, sid, b, d)
  if ok then return j end
  return broken(q, sid, b, d, string.match(tostring(j), '([^:]*)$'))
end
function has_begun(j) return j.begun or j.attempt > 1 or j.crashes > 0 end
end
local spoil                         -- set by moves; nil in scripts that only read
local function became(j)            -- its state as stored
  local f = (j.open and 1 or 0) + (j.lapsed and 2 or 0) + (j.cancelling and 4 or 0) + (j.ghost and 8 or 0) + (j.inz and 16 or 0)
  local holder = j.holder or ''
  return spack(BECAME, j.st, j.rank, j.at, j.attempt, j.crashes, j.token, f, j.settled, j.fin,
    j.rtil > 0 and j.rtil or j.begun and -1 or 0, j.order, j.acc, j.size, j.flags, #holder) .. holder .. (j.reason or '')
end
local function table_in(packed)         -- a stored table; an empty one for none, and for one that cannot be read
  local ok, x = pcall(munpack, packed or '')
  return ok and type(x) == 'table' and x or {}
end
local function kind_of(j) return sub(j.b, j.args_at - j.xlen - j.klen, j.args_at - j.xlen - 1) end
local function load(q, sids)        -- read these into q.jobs, false for unknown ones
  local want = {}
  for i = 1, #sids do
    if q.jobs[sids[i]] == nil then want[#want + 1] = sids[i] end
  end
  for i = 1, #want, 7000 do
    local last = min(i + 6999, #want)
    local bs, ds = call('HMGET', q.P .. ':b', unpack(want, i, last)), call('HMGET', q.P .. ':d', unpack(want, i, last))
    for n = 1, #bs do q.jobs[want[i + n - 1]] = bs[n] and parse(q, want[i + n - 1], bs[n], ds[n]) or false end
  end
end
local function job(q, sid)
  if q.jobs[sid] == nil then load(q, { sid }) end
  return q.jobs[sid] or nil
end
local function linked(q, sid)       -- the job of an id, or the one that the id of a follow-up leads to: see follow
  local j = job(q, sid)
  local past = not j and call('HGET', q.P .. ':p', sid)
  local link = past and string.match(past, '%z(.+)$', 17)
  return j or (link and job(q, link)) or nil
end
local function touch(j)
  if not j.dirty then
    j.dirty = true
    j.q.dirty[#j.q.dirty + 1] = j
  end
end
local function member(j) return fmt('%014.0f', j.order) .. j.sid end
local function rel(q) return now * 1e9 - q.s[S_EPOCH] * 1e9 end      -- nanoseconds since the queue's epoch: exact

-- Lanes. where: 0 out, 1 in the ring, 2 parked for a slot, 3 parked for its rate. An era ends when the rate limit of the
-- keys is removed: values of `tat` from before do not count.
local join
local function lane_from(q, key, packed)
  q.s[S_KEYED] = 1
  local lane = { key = key, R = q.P .. ':r:' .. key, Z = q.P .. ':z:' .. key, push = 'RPUSH :r:' .. key,
    zadd = 'ZADD :z:' .. key }
  local ok, x = pcall(munpack, packed)
  if ok and type(x) == 'table' then
    for i = 1, 13 do ok = ok and type(x[i]) == 'number' and (i == 10 or i == 11 or x[i] == x[i] and x[i] > -1e300 and x[i] < 1e300) end
  else ok = false end
  if packed and not ok then         -- count what can be counted; its turn comes in a new one
    lane.z, lane.run, lane.tat, lane.given, lane.wake, lane.bytes = call('ZCARD', lane.Z), 0, 0, 0, 0, 0
    lane.n = call('LLEN', lane.R) + lane.z
    lane.depth, lane.tail, lane.tailo, lane.where, lane.turn = lane.n, math.huge, 0, 0, 0
    q.lanes[key] = lane
    if lane.n > 0 then join(q, lane) end
    return lane
  elseif packed then
    lane.run, lane.tat, lane.given, lane.turn, lane.where, lane.wake = x[1], x[2], x[3], x[4], x[5], x[6]
    lane.depth, lane.bytes, lane.n, lane.tail, lane.tailo, lane.z = x[7], x[8], x[9], x[10], x[11], x[12]
    if x[13] ~= q.s[S_ERA] then lane.tat = 0 end
  else
    lane.run, lane.tat, lane.given, lane.turn, lane.where, lane.wake = 0, 0, 0, 0, 0, 0
    lane.depth, lane.bytes, lane.n, lane.tail, lane.tailo, lane.z = 0, 0, 0, 0, 0, 0
  end
  q.lanes[key] = lane
  return lane
end
local function lane_of(q, key)
  return q.lanes[key] or lane_from(q, key, call('HGET', q.P .. ':k', key))
end
local function lanes_of(q, keys)
  local want = {}
  for _, key in ipairs(keys) do
    if not q.lanes[key] then want[#want + 1] = key end
  end
  if #want > 0 then
    local got = call('HMGET', q.P .. ':k', unpack(want))
    for i, key in ipairs(want) do lane_from(q, key, got[i]) end
  end
end
local function in_turn(lane) return fmt('%015.0f', lane.turn) .. lane.key end     -- its name in ring and park
function join(q, lane)        -- at the back of the ring
  q.s[S_BACK] = q.s[S_BACK] + 1
  lane.where, lane.turn, lane.given = 1, q.s[S_BACK], 0
  local entry = in_turn(lane)
  if q.joins then q.joins[#q.joins + 1] = entry else later(q, 'RPUSH :ring', entry) end
end
local function unpark(q, lane)      -- from the park to the ring
  call('ZREM', q.P .. ':park', in_turn(lane))
  join(q, lane)
end
local function freed(q, key)        -- a run of this key ended
  q.freed = q.freed + 1
  local lane = key and lane_of(q, key)
  if not lane then return end
  if lane.where == 2 then unpark(q, lane)
  elseif lane.where == 0 and lane.run == 0 and not q.limits[L_KINTERVAL] then lane.tat = 0 end
end
local function may_begin(q, key)
  local most, each = q.limits[L_CONC], q.limits[L_KCONC]
  return (not most or q.s[S_RUN] < most) and (not key or not each or lane_of(q, key).run < each)
end
local function gcra_room(interval, burst, tat, t)      -- core.limits.Gcra.room, exact
  local over = max(0, min(tat - t, burst * interval))
  local r = math.fmod(over, interval)
  return burst - ((over - r) / interval + (r > 0 and 1 or 0))
end
local function begin(q, key, by)    -- count the begin (1) or the end (-1) of a run
  q.s[S_RUN] = q.s[S_RUN] + by
  if key then local lane = lane_of(q, key); lane.run = lane.run + by end
end
local function line_of(j) return j.key and lane_of(j.q, j.key) or j.q.plain end
local function stand(j)             -- join its line: at the end of r if that keeps r in order, else in z
  local q, line = j.q, line_of(j)
  j.st = 'Q'
  local behind = line.n == 0 or j.rank > line.tail or (j.rank == line.tail and j.order > line.tailo)
  if not j.ghost and behind and j.rank <= now * 1000 then
    j.inz = false
    line.tail, line.tailo = j.rank, j.order
    later(q, line.push, j.sid)
  else
    j.inz = true
    line.z = line.z + 1
    later(q, line.zadd, j.rank, member(j))
  end
  line.n = line.n + 1
  q.s[S_READY] = q.s[S_READY] + 1
  q.ready = q.ready + 1
  if j.key and line.where == 0 then join(q, line) end
end
local function lift(j)              -- remove it from its line or from due
  local q = j.q
  if j.st == 'Q' then
    local line = line_of(j)
    if j.inz then
      sync(q)
      call('ZREM', line.Z, member(j))
      line.z, j.inz = line.z - 1, false
    else j.ghost = true end
    line.n = line.n - 1
    q.s[S_READY] = q.s[S_READY] - 1
    if line.n == 0 and not line.rc then sync(q); call('UNLINK', line.R) end      -- only stale entries are left
    touch(j)
  elseif j.st == 'S' or j.st == 'K' then
    sync(q)
    call('ZREM', q.P .. ':due', member(j))
    if j.st == 'K' then
      local kind = kind_of(j)
      q.s[S_PARKED] = q.s[S_PARKED] - 1
      call('SREM', q.P .. ':pk:' .. kind, j.sid)
      if add(q.P .. ':pk', kind, -1) <= 0 then call('HDEL', q.P .. ':pk', kind) end
    end
  elseif j.st == 'W' then
    q.s[S_WAIT] = q.s[S_WAIT] - 1
    if q.next and j.uniq and call('HGET', q.P .. ':un', j.uniq) == j.sid then call('HDEL', q.P .. ':un', j.uniq) end
  end
end

-- Stale entries (a purge of a million jobs leaves as many) are skipped, SKIPS in one call: after them the call returns
-- no job, and the next call skips more.
local SKIPS = 5000
-- The front of a line: peek returns its first job, take advances to the next; shorten removes the taken ones.
local peek
do
local function more(q, line, n)
  local sids = call('LRANGE', line.R, line.rc, line.rc + n - 1)
  load(q, sids)
  line.rb, line.ri = sids, 1
end
function peek(q, line, n)
  if line.n == 0 then return nil end
  if line.rc == nil then line.rc, line.zc, line.rb, line.ri, line.zb, line.zi, line.skipped = 0, 0, {}, 1, {}, 1, 0 end
  local first
  while true do
    if line.ri > #line.rb then
      if line.rend then break end
      if line.skipped >= SKIPS then q.skipping = true; break end
      more(q, line, line.skipped > 0 and 500 or n)
      if #line.rb == 0 then line.rend = true; break end
    end
    local j = q.jobs[line.rb[line.ri]]
    if j and j.st == 'Q' and not j.inz and not j.ghost and not j.passed then
      if not j.bad then first = j; break end
      j.passed = true
      if spoil then spoil(j, line) end
    end
    if j and j.ghost then j.ghost = false; touch(j) end
    line.ri, line.rc, line.skipped = line.ri + 1, line.rc + 1, line.skipped + 1
  end
  if line.z > line.zc then
    if line.zi > #line.zb then
      local members = call('ZRANGE', line.Z, line.zc, line.zc + n - 1)
      line.zb, line.zi = {}, 1
      for i = 1, #members do line.zb[i] = sub(members[i], 15) end
      load(q, line.zb)
    end
    local j = q.jobs[line.zb[line.zi]]
    while j and j.bad do
      line.zi, line.zc = line.zi + 1, line.zc + 1
      if spoil then j.inz = false; spoil(j, line) end
      j = q.jobs[line.zb[line.zi]]
    end
    if j and (not first or j.rank < first.rank or (j.rank == first.rank and j.order < first.order)) then return j end
  end
  return first
end
end
local function take(q, line, j)
  if j.inz then line.zi, line.zc, j.inz = line.zi + 1, line.zc + 1, false
  else line.ri, line.rc = line.ri + 1, line.rc + 1 end
  line.n = line.n - 1
  q.s[S_READY] = q.s[S_READY] - 1
  j.passed = true
end
local function shorten(line)
  if line.rc then
    if line.rc > 0 then call('LTRIM', line.R, line.rc, -1) end
    if line.zc > 0 then call('ZREMRANGEBYRANK', line.Z, 0, line.zc - 1); line.z = line.z - line.zc end
    line.rc, line.rend = nil, nil
  end
end

local function state_of(j)          -- 1 byte, by the present time
  local st = j.st
  if st == 'Q' or st == 'S' or st == 'K' then
    if j.expires and now >= j.expires and not has_begun(j) then return 'e' end
    if j.at <= now then return 'Q' end
  end
  return st
end
local function ended(j) local st = j.st; return st == 's' or st == 'd' or st == 'c' or st == 'e' end

write_jobs = function(q)
  local P, s = q.P, q.s
  shorten(q.plain)
  for _, lane in pairs(q.lanes) do shorten(lane) end
  for _, j in ipairs(q.dirty) do
    if j.gone then
      -- removed: nothing to write
    elseif j.st == 'Q' and j.attempt == 1 and j.crashes == 0 and j.settled == 0 and not (j.begun or j.open or j.lapsed or j.ghost or j.inz)
      and j.flags < 8 and j.at == j.run_at and j.rank == rank_of(j.run_at, j.prio) and j.token == 0 then
      if j.had then later(q, 'HDEL :d', j.sid) end
    else
      later(q, 'HSET :d', j.sid, became(j))
    end
    if j.rewritten and not j.gone then later(q, 'HSET :b', j.sid, j.b) end
  end
  for key, lane in pairs(q.lanes) do
    if lane.where == 0 and lane.run == 0 and lane.depth == 0 and lane.n == 0 and lane.tat <= rel(q) then
      later(q, 'HDEL :k', key)
    else
      later(q, 'HSET :k', key, mpack({ lane.run, lane.tat, lane.given, lane.turn, lane.where, lane.wake, lane.depth,
        lane.bytes, lane.n, lane.tail, lane.tailo, lane.z, s[S_ERA] }))
    end
  end
end
