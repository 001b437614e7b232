-- What every script begins with: the clock, the queues, their jobs and lanes as tables, written back by flush().
--
-- KEYS[1] D, "{space}" (on a cluster "{space:queue}"): what belongs to no queue alone. KEYS[2..] P, "{space:queue}".
-- ARGV[1] now: seconds since 1970, '' for this server's clock. ARGV[2] the birth of this place: another one means that
-- it was emptied, and is answered with the error REBORN before anything has changed.
--
-- Of D   born; queues: set of names; order: counter of acceptances; leases: zset holder -> end of its lease;
--        gone: zset of holders whose lease lapsed; asked: hash holder -> the queues it asks for;
--        lost:H list of (queue, id, token) that holder H lost; watch: hash id -> who waits for its end
-- Of P   c   hash: limits (msgpack array, see L_), s (counters, see S_), paused, app, declared, changes
--        b   hash id -> record: what was accepted (see parse)
--        d   hash id -> what became of it (see parse); none: it is as it was accepted
--        r, z; r:K, z:K   a line: ids in order of rank, and out of that order (zset rank, order..id); K: the key's own
--        k   hash key -> lane; ring: list of turn..key; park: zset wake -> turn..key
--        due zset at -> order..id; pk hash kind -> parked jobs; pk:KIND set of them
--        h:H set of what holder H holds; u hash unique key -> (id, until)
--        ended, dead, kept: zsets of what has ended, by the time of its end (kept: by that of its result's)
--        p hash id -> (until, token): remembered; pl list of these ids; a:N list of ids by order; ac hash N -> how many
--        res, f, n: hashes id -> result, failures, notes; w set of who waits for a job
local D, call, floor, ceil, max, min, fmt = KEYS[1], redis.call, math.floor, math.ceil, math.max, math.min, string.format
local spack, sunpack, mpack, munpack, sub = struct.pack, struct.unpack, cmsgpack.pack, cmsgpack.unpack, string.sub
local now, micros = tonumber(ARGV[1]), nil
do
  local t = call('TIME')
  micros = t[1] * 1000000 + t[2]
  if not now then now = t[1] + t[2] / 1000000 end
end
if call('GET', D .. ':born') ~= ARGV[2] then return redis.error_reply('REBORN the server has lost what this store knew') end

local S_DEPTH, S_READY, S_RUN, S_WAIT, S_BYTES, S_SHED, S_BACK, S_TURN, S_TAT = 1, 2, 3, 4, 5, 6, 7, 8, 9
local S_DRAINED, S_DRAINED_AT, S_EPOCH, S_N, S_TAIL, S_TAILO, S_Z, S_ERA, S_TOKEN, S_PARKED = 10, 11, 12, 13, 14, 15, 16, 17, 18, 19
local L_DEPTH, L_BYTES, L_AGE, L_SHED, L_CONC, L_INTERVAL, L_BURST, L_KCONC, L_KINTERVAL, L_KBURST = 1, 2, 3, 4, 5, 6, 7, 8, 9, 10
local L_KDEPTH, L_KBYTES, L_KAGE, L_TTL, L_RECORDS, L_DEAD, L_MEMORY, L_WEIGHTS = 11, 12, 13, 14, 15, 16, 17, 18
local PAGE, TAU = 1000, 30
local queues, opened = {}, {}

-- many(cmd, key, list): one command for a long list, in pieces: unpack fails near 8,000 values.
local function many(cmd, key, list)
  for i = 1, #list, 7000 do call(cmd, key, unpack(list, i, min(i + 6999, #list))) end
end
local function trunc(x) return x < 0 and ceil(x) or floor(x) end
local function rank_of(at, prio) return trunc((at - (1 - prio) * 60) * 1000) end

local function open(P)      -- a queue by its prefix, nil when nobody knows it
  local q = queues[P]
  if q then return q end
  local got = call('HMGET', P .. ':c', 'limits', 's', 'paused')
  if not got[2] then return nil end
  local s = munpack(got[2])
  q = { P = P, name = string.match(P, ':(.*)}$'), limits = munpack(got[1]), s = s, before = got[2], paused = got[3] == '1',
        jobs = {}, lanes = {}, dirty = {}, out = {}, keys = {}, ready = 0, freed = 0, paged = {},
        plain = { R = P .. ':r', Z = P .. ':z', push = 'RPUSH :r', zadd = 'ZADD :z', n = s[S_N], tail = s[S_TAIL], tailo = s[S_TAILO], z = s[S_Z] } }
  queues[P] = q
  opened[#opened + 1] = q
  return q
end
local function make(P, limits)      -- the same, made with these limits when it is new
  local q = open(P)
  if q then return q end
  call('HSET', P .. ':c', 'limits', limits, 's', mpack({ 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, floor(now), 0, 0, 0, 0, 0, 0, 0 }))
  call('SADD', D .. ':queues', string.match(P, ':(.*)}$'))
  return open(P)
end
local function prefix(name) return string.match(D, '^({[^:}]*)') .. ':' .. name .. '}' end
local function every()              -- all queues of this place, by name
  local names = call('SMEMBERS', D .. ':queues')
  table.sort(names)
  local all = {}
  for _, name in ipairs(names) do all[#all + 1] = open(prefix(name)) end
  return all
end

-- Writes of one kind to one key ('HSET :b') are held back and sent as one command; sync sends them, before a read.
local function held_back(q, what)
  local list = q.out[what]
  if not list then
    list = {}
    q.out[what] = list
    q.keys[#q.keys + 1] = what
  end
  return list
end
local function later(q, what, a, b)
  local list = q.out[what] or held_back(q, what)
  list[#list + 1] = a
  if b ~= nil then list[#list + 1] = b end
end
local function sync(q)
  for _, what in ipairs(q.keys) do
    local space = string.find(what, ' ', 1, true)
    many(sub(what, 1, space - 1), q.P .. sub(what, space + 1), q.out[what])
  end
  if #q.keys > 0 then q.out, q.keys = {}, {} end
end

-- A record: order, second of acceptance, run_at, enqueued_at, priority, flags, length of kind and of ext; then
-- expires_at if flag 4; kind; ext: msgpack of (key, unique, until start, until, replace, seconds, headers, redacted);
-- arguments. Flags: 1 key, 2 unique, 4 expires, 8 not due when it was accepted.
-- What became of it: state, rank, at, attempt, crashes, token, flags, settled, finished, result until; of the record order,
-- second of acceptance, size, flags; then the length of the holder, the holder, the reason.
-- States: Q ready, S scheduled, K parked, R running, W waiting; s d c e as they end.
-- Flags: 1 open, 2 lapsed, 4 cancelling, 8 an entry in r stands for it no more, 16 it stands in z.
local BECAME = '>c1ddI4I2dBdddI6I4I4BB'
local function parse(q, sid, b, d)
  local order, acc, run_at, enq, prio, flags, klen, xlen = sunpack('>I6I4ddBBBI4', b)
  local expires, key, uniq, at_start, uniq_until, replace, args_at
  args_at = 34 + klen + xlen
  if flags % 8 >= 4 then expires = sunpack('>d', b, 34); args_at = args_at + 8 end
  if flags % 4 > 0 then
    local x = munpack(sub(b, args_at - xlen, args_at - 1))
    if flags % 2 == 1 then key = x[1] end
    if flags % 4 >= 2 then uniq, at_start, uniq_until, replace = x[2], x[3], x[4] or nil, x[5] end
  end
  local st, rank, at, attempt, crashes, token, f, settled, fin, rtil = 'Q', nil, run_at, 1, 0, 0, 0, 0, 0, 0
  local holder, reason
  if d then
    local hlen, next_at, _
    st, rank, at, attempt, crashes, token, f, settled, fin, rtil, _, _, _, _, hlen, next_at = sunpack(BECAME, d)
    if hlen > 0 then holder = sub(d, next_at, next_at + hlen - 1) end
    if #d >= next_at + hlen then reason = sub(d, next_at + hlen) end
  else
    rank = rank_of(run_at, prio)
    if flags >= 8 then st = 'S' end
  end
  return { q = q, sid = sid, b = b, order = order, acc = acc, run_at = run_at, prio = prio, flags = flags, klen = klen,
    xlen = xlen, args_at = args_at, size = #b - args_at + 1, expires = expires, key = key, uniq = uniq, at_start = at_start,
    uniq_until = uniq_until, replace = replace, st = st, rank = rank, at = at, attempt = attempt, crashes = crashes,
    token = token, settled = settled, fin = fin, rtil = rtil, holder = holder, reason = reason, had = d and true or false,
    open = f % 2 == 1, lapsed = f % 4 >= 2, cancelling = f % 8 >= 4, ghost = f % 16 >= 8, inz = f >= 16,
    dirty = false, passed = false, gone = false, rewritten = false }
end
local function became(j)            -- what is written of it
  local f = (j.open and 1 or 0) + (j.lapsed and 2 or 0) + (j.cancelling and 4 or 0) + (j.ghost and 8 or 0) + (j.inz and 16 or 0)
  local holder = j.holder or ''
  return spack(BECAME, j.st, j.rank, j.at, j.attempt, j.crashes, j.token, f, j.settled, j.fin, j.rtil, j.order, j.acc, j.size,
    j.flags, #holder) .. holder .. (j.reason or '')
end
local function kind_of(j) return sub(j.b, j.args_at - j.xlen - j.klen, j.args_at - j.xlen - 1) end
local function load(q, sids)        -- let q.jobs hold these, where they exist
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
local function touch(j)
  if not j.dirty then
    j.dirty = true
    j.q.dirty[#j.q.dirty + 1] = j
  end
end
local function member(j) return fmt('%014.0f', j.order) .. j.sid end
local function rel(q) return now * 1e9 - q.s[S_EPOCH] * 1e9 end      -- nanoseconds since the queue's epoch: exact

-- Lanes. where: 0 out, 1 in the ring, 2 parked for a slot, 3 parked for its rate. An era ends when the keys' rate is
-- taken away: what was remembered of it counts no more.
local function lane_from(q, key, packed)
  local lane = { key = key, R = q.P .. ':r:' .. key, Z = q.P .. ':z:' .. key, push = 'RPUSH :r:' .. key,
    zadd = 'ZADD :z:' .. key }
  if packed then
    local x = munpack(packed)
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
local function join(q, lane)        -- at the back of the ring
  q.s[S_BACK] = q.s[S_BACK] + 1
  lane.where, lane.turn, lane.given = 1, q.s[S_BACK], 0
  local entry = in_turn(lane)
  if q.joins then q.joins[#q.joins + 1] = entry else later(q, 'RPUSH :ring', entry) end
end
local function unpark(q, lane)      -- it was parked, and joins
  call('ZREM', q.P .. ':park', in_turn(lane))
  join(q, lane)
end
local function freed(q, key)        -- a job of this key ended its run
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
local function begin(q, key, by)    -- count a job that runs (1) or no more (-1)
  q.s[S_RUN] = q.s[S_RUN] + by
  if key then local lane = lane_of(q, key); lane.run = lane.run + by end
end
local function line_of(j) return j.key and lane_of(j.q, j.key) or j.q.plain end
local function stand(j)             -- in line: at the end of r if that keeps r in order, else in z
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
local function lift(j)              -- out of its line or of what is due
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
    touch(j)
  elseif j.st == 'S' or j.st == 'K' then
    sync(q)
    call('ZREM', q.P .. ':due', member(j))
    if j.st == 'K' then
      local kind = kind_of(j)
      q.s[S_PARKED] = q.s[S_PARKED] - 1
      call('SREM', q.P .. ':pk:' .. kind, j.sid)
      if call('HINCRBY', q.P .. ':pk', kind, -1) <= 0 then call('HDEL', q.P .. ':pk', kind) end
    end
  elseif j.st == 'W' then q.s[S_WAIT] = q.s[S_WAIT] - 1 end
end

-- The front of a line: peek gives its first job, take goes on to the next; what was taken leaves it at shorten.
local function more(q, line, n)
  local sids = call('LRANGE', line.R, line.rc, line.rc + n - 1)
  load(q, sids)
  line.rb, line.ri = sids, 1
end
local function peek(q, line, n)
  if line.n == 0 then return nil end
  if line.rc == nil then line.rc, line.zc, line.rb, line.ri, line.zb, line.zi = 0, 0, {}, 1, {}, 1 end
  local first
  while true do
    if line.ri > #line.rb then
      if line.rend then break end
      more(q, line, n)
      if #line.rb == 0 then line.rend = true; break end
    end
    local j = q.jobs[line.rb[line.ri]]
    if j and j.st == 'Q' and not j.inz and not j.ghost and not j.passed then first = j; break end
    if j and j.ghost then j.ghost = false; touch(j) end
    line.ri, line.rc = line.ri + 1, line.rc + 1
  end
  if line.z > line.zc then
    if line.zi > #line.zb then
      local members = call('ZRANGE', line.Z, line.zc, line.zc + n - 1)
      line.zb, line.zi = {}, 1
      for i = 1, #members do line.zb[i] = sub(members[i], 15) end
      load(q, line.zb)
    end
    local j = q.jobs[line.zb[line.zi]]
    if j and (not first or j.rank < first.rank or (j.rank == first.rank and j.order < first.order)) then return j end
  end
  return first
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

local function state_of(j)          -- 1 byte, as it holds now
  local st = j.st
  if st == 'Q' or st == 'S' or st == 'K' then
    if j.expires and now >= j.expires and j.attempt == 1 and j.crashes == 0 then return 'e' end
    if j.at <= now then return 'Q' end
  end
  return st
end
local function ended(j) local st = j.st; return st == 's' or st == 'd' or st == 'c' or st == 'e' end

-- Who waits for a job is rung for, at most as many as there are jobs; one that is gone makes room for the next.
local function ring(q, n)
  while n > 0 do
    local ids = call('SPOP', q.P .. ':w', min(n, 16))
    if #ids == 0 then return end
    for _, id in ipairs(ids) do
      if call('PUBLISH', D .. ':bell:' .. string.match(id, '^[^:]*'), id) > 0 then n = n - 1 end
    end
  end
end
local function flush()
  for _, q in ipairs(opened) do
    local P, s = q.P, q.s
    shorten(q.plain)
    for _, lane in pairs(q.lanes) do shorten(lane) end
    for _, j in ipairs(q.dirty) do
      if j.gone then
        -- removed: nothing to write
      elseif j.st == 'Q' and j.attempt == 1 and j.crashes == 0 and j.settled == 0 and not (j.open or j.lapsed or j.ghost or j.inz)
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
    for page, n in pairs(q.paged) do
      if call('HINCRBY', P .. ':ac', page, n) <= 0 then
        call('HDEL', P .. ':ac', page)
        call('DEL', P .. ':a:' .. page)
      end
    end
    sync(q)
    local line = q.plain
    s[S_N], s[S_TAIL], s[S_TAILO], s[S_Z] = line.n, line.tail, line.tailo, line.z
    local packed = mpack(s)
    if packed ~= q.before then call('HSET', P .. ':c', 's', packed) end
    if q.ready > 0 or q.freed > 0 then ring(q, max(q.ready, min(q.freed, s[S_READY]))) end
  end
end
