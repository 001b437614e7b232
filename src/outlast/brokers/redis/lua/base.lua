-- What every script begins with: the clock, the queues as tables, writes that are held back, what is done at the end.
-- What a plain call does not need stands in files that follow it: only what is reached costs anything.
--
-- KEYS[1] D, "{space}": what belongs to no queue alone. KEYS[2..] P, "{space:queue}". On a Cluster "{space}:" and
-- "{space}::queue}", so that all of them lie in the slot of the space.
-- ARGV[1] now: seconds since 1970, '' for this server's clock. ARGV[2] the birth of this place: another one means that
-- it was emptied, and is answered with the error REBORN before anything has changed.
--
-- Of D   born; queues: set of names; order: counter of acceptances; leases: zset holder -> end of its lease;
--        gone: zset of holders whose lease lapsed; asked: hash holder -> the queues it asks for;
--        lost:H list of (queue, id, token) that holder H lost; watch: hash id -> who waits for its end
-- Of P   c   hash: limits (msgpack array, see L_), s (counters, see S_), paused, app, declared, changes
--        b   hash id -> record: what was accepted (see below)
--        d   hash id -> what became of it (see below); none: it is as it was accepted
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
local S_DEPTH, S_READY, S_RUN, S_WAIT, S_BYTES, S_SHED, S_BACK, S_TURN, S_TAT = 1, 2, 3, 4, 5, 6, 7, 8, 9
local S_DRAINED, S_DRAINED_AT, S_EPOCH, S_N, S_TAIL, S_TAILO, S_Z, S_ERA, S_TOKEN, S_PARKED = 10, 11, 12, 13, 14, 15, 16, 17, 18, 19
local S_KEYED, S_STALE, S_END, S_FORMAT = 20, 21, 22, '>' .. string.rep('d', 22)
-- S_KEYED: it has ever had a job with a key; S_STALE: entries of the ring whose key was forgotten; S_END: when
-- the last one ended
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

local born
local function same_birth()         -- the queues keep a copy, so that this is mostly not asked
  if born == nil then born = call('GET', D .. ':born') == ARGV[2] end
  return born
end
local function open(P)      -- a queue by its prefix, nil when nobody knows it
  local q = queues[P]
  if q then return q end
  local got = call('HMGET', P .. ':c', 'limits', 's', 'paused', 'waited', 'born')
  if not got[2] then return nil end
  if got[5] ~= ARGV[2] then
    if not same_birth() then return nil end
    call('HSET', P .. ':c', 'born', ARGV[2])
  end
  local s = { sunpack(S_FORMAT, got[2]) }
  s[23] = nil
  q = { P = P, name = string.match(P, '([^:]*)}$'), limits = munpack(got[1]), s = s, before = got[2], paused = got[3] == '1',
        waited = got[4], jobs = {}, lanes = {}, dirty = {}, out = {}, keys = {}, ready = 0, freed = 0, paged = {},
        plain = { R = P .. ':r', Z = P .. ':z', push = 'RPUSH :r', zadd = 'ZADD :z', n = s[S_N], tail = s[S_TAIL],
                  tailo = s[S_TAILO], z = s[S_Z] } }
  queues[P] = q
  opened[#opened + 1] = q
  return q
end
local function make(P, limits)      -- the same, made with these limits when it is new
  local q = open(P)
  if q then return q end
  call('HSET', P .. ':c', 'limits', limits, 'born', ARGV[2], 's',
    spack(S_FORMAT, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, floor(now), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0))
  call('SADD', D .. ':queues', string.match(P, '([^:]*)}$'))
  return open(P)
end
local function prefix(name) return (sub(D, -1) == '}' and sub(D, 1, -2) or D) .. ':' .. name .. '}' end
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

-- Who waits for a job is rung for, at most as many as there are jobs; one that is gone makes room for the next.
local function ring(q, n)
  if not q.waited then return end
  while n > 0 do
    local ids = call('SPOP', q.P .. ':w', min(n, 16))
    if #ids == 0 then
      call('HDEL', q.P .. ':c', 'waited')
      q.waited = nil
      return
    end
    for _, id in ipairs(ids) do
      if call('PUBLISH', D .. ':bell:' .. string.match(id, '^[^:]*'), id) > 0 then n = n - 1 end
    end
  end
end
local notify = {}                       -- (queue, id) of what ended or went, for who waits for it
local write_jobs, erase             -- of jobs and moves, where they are reached
local function flush()
  for _, q in ipairs(opened) do
    local P, s = q.P, q.s
    if write_jobs then write_jobs(q) end
    for page, n in pairs(q.paged) do
      if call('HINCRBY', P .. ':ac', page, n) <= 0 then
        call('HDEL', P .. ':ac', page)
        call('DEL', P .. ':a:' .. page)
      end
    end
    sync(q)
    local line = q.plain
    s[S_N], s[S_TAIL], s[S_TAILO], s[S_Z] = line.n, line.tail, line.tailo, line.z
    local packed = spack(S_FORMAT, unpack(s, 1, 22))
    if packed ~= q.before then call('HSET', P .. ':c', 's', packed) end
    if q.ready > 0 or q.freed > 0 then ring(q, max(q.ready, min(q.freed, s[S_READY]))) end
  end
  if #notify == 0 or call('EXISTS', D .. ':watch') == 0 then return end
  for _, each in ipairs(notify) do
    local id = each[1].name .. '.' .. each[2]
    local bells = call('HGET', D .. ':watch', id)
    if bells then
      call('HDEL', D .. ':watch', id)
      for bell in string.gmatch(bells, '%S+') do call('PUBLISH', D .. ':bell:' .. bell, id) end
    end
  end
end

if not (KEYS[2] and open(KEYS[2])) and not same_birth() then
  return redis.error_reply('REBORN the server has lost what this store knew')
end
