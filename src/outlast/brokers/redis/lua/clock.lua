-- The beginning of every script: the clock, the layout of the keys, and the notifications.
-- Code that a plain call does not need is in later files: only code that is reached costs time.
--
-- KEYS[1] D, "{space}": data of no single queue. KEYS[2..] P, "{space:queue}". On a Cluster each queue is a keyspace of
-- its own, in its own slot: D is "{space:queue}:" there, and "{space}" for the root, which belongs to no queue.
-- ARGV[1] now: seconds since 1970, '' for this server's clock. ARGV[2] the birth of this keyspace: another one means that
-- the server was flushed, and raises the error REBORN with nothing changed.
--
-- Of D   born; queues: set of names; order: counter of acceptances; leases: zset holder -> end of its lease;
--        gone: zset of holders whose lease lapsed; asked: hash holder -> the queues that it claims from; cap: what it can do;
--        samples:.., audit, mark, cost:DAY, charged:DAY: see history
--        lost:H list of (queue, id, token) that holder H lost; watch: hash id -> waiters for its end
-- Of P   c   hash: limits (msgpack array, see L_), s (counters, see S_), paused, app, declared, changes, relook, samples, pace;
--            waited: w may have members; past: p may have fields; next: un may have fields; born: as of D
--        b   hash id -> record: the accepted job (see below)
--        d   hash id -> state (see below); none: unchanged since its acceptance
--        r, z; r:K, z:K   a line: ids in order of rank, and out of that order (zset rank, order..id); K: the line of key K
--        k   hash key -> lane; ring: list of turn..key; park: zset wake -> turn..key
--        due zset at -> order..id; pk hash kind -> parked jobs; pk:KIND set of them
--        h:H set of what holder H holds; u hash unique key -> (id, until); un hash unique key -> id of its successor
--        ended, dead, kept: zsets of ended jobs, by the time of their end (kept: of the end of their result)
--        p hash id -> (until, token, kind and link): remembered ids; pl list of these ids; a:N list of ids by order; ac hash N ->
--        minus the number of removed ids of a:N
--        res, f, n: hashes id -> result, failures, notes; w set of waiters for a job
--        t hash outcome and kind -> ended jobs (core.store.totals): the letter of a state, h shed or r replaced, then the
--        name of the kind; it has all six of a declared kind, and "other" for all kinds without
local D, call, floor, ceil, max, min, fmt = KEYS[1], redis.call, math.floor, math.ceil, math.max, math.min, string.format
local spack, sunpack, mpack, munpack, sub = struct.pack, struct.unpack, cmsgpack.pack, cmsgpack.unpack, string.sub
local now, micros = tonumber(ARGV[1]), nil
do
  local t = call('TIME')
  local seconds, rest = tonumber(t[1]), tonumber(t[2])
  micros = seconds * 1000000 + rest
  if not now then now = seconds + rest / 1000000 end
end
local S_DEPTH, S_READY, S_BYTES, S_N, S_TAIL, S_TAILO, S_Z, S_RUN, S_WAIT, S_SHED, S_BACK = 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11
local S_EPOCH, S_TURN, S_TAT, S_DRAINED, S_DRAINED_AT, S_ERA, S_TOKEN, S_PARKED = 12, 13, 14, 15, 16, 17, 18, 19
local S_KEYED, S_STALE, S_END, S_PLAIN, S_FORMAT = 20, 21, 22, '>ddddddd', '>dddddddddddddddddddddd'
-- S_PLAIN: the counters that a plain publish changes come first. S_KEYED: it has had a job with a key; S_STALE: entries
-- of the ring whose key was removed; S_END: the time of the last end
local L_DEPTH, L_BYTES, L_AGE, L_SHED, L_CONC, L_INTERVAL, L_BURST, L_KCONC, L_KINTERVAL, L_KBURST = 1, 2, 3, 4, 5, 6, 7, 8, 9, 10
local L_KDEPTH, L_KBYTES, L_KAGE, L_TTL, L_RECORDS, L_DEAD, L_MEMORY, L_WEIGHTS, L_RESULTS = 11, 12, 13, 14, 15, 16, 17, 18, 20
local PAGE, TAU = 1000, 30
local function trunc(x) return x < 0 and ceil(x) or floor(x) end
local function weighed_ends(q)      -- ended jobs, each weighed by its age; a clock that was set back makes none weigh more
  return q.s[S_DRAINED] * math.exp(min(0, q.s[S_DRAINED_AT] - now) / TAU)
end
local function rank_of(at, prio) return trunc((at - (1 - prio) * 60) * 1000) end

-- A record: order, second of acceptance, run_at, enqueued_at, priority, flags, length of kind and of ext; then
-- expires_at if flag 4; kind; ext: msgpack of (key, unique, until start, until, replace, seconds, headers, redacted);
-- arguments. Flags: 1 key, 2 unique, 4 expires, 8 not due when it was accepted.
-- A state: state, rank, at, attempt, crashes, token, flags, settled, finished, result until (-1: it has not ended, and a
-- settlement told that a run had begun; earlier code bears this); from the record: order,
-- second of acceptance, size, flags; then the length of the holder, the holder, the reason.
-- States: Q ready, S scheduled, K parked, R running, W waiting; s succeeded, d dead, c cancelled, e expired.
-- Flags: 1 open, 2 lapsed, 4 cancelling, 8 its entry in r is stale, 16 it is in z.
local BECAME = '>c1ddI4I2dBdddI6I4I4BB'

-- The kind in a record. from: 34 in a complete one, 24 without its first 10 bytes.
local function kind_in(b, from)
  if string.byte(b, from - 6) % 8 >= 4 then return sub(b, from + 8, from + 7 + string.byte(b, from - 5)) end
  return sub(b, from, from - 1 + string.byte(b, from - 5))
end
-- What is remembered of a removed job: until, token, and its kind if its id was not generated (these have 32 characters).
-- Of a follow-up whose unique key was held: its kind, a zero byte, and the id of the job that held it.
local function kind_of_past(past) return string.match(past, '^[^%z]*', 17) or '' end
local function past_of(past)            -- until, token; one that cannot be read is forgotten
  if past and #past >= 16 then return sunpack('>dd', past) end
  return 0, 0
end

local alone = sub(D, -1) == ':'         -- the keyspace of one queue, on a Cluster
local function tell(bell, id)
  return call('PUBLISH', (alone and string.match(D, '^[^:]*') .. '}' or D) .. ':bell:' .. bell, id)
end
-- Notify waiters for a job, at most as many as there are jobs; a waiter that does not listen any more is not counted.
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
      -- On a Cluster a server counts only its own listeners: there all waiters are notified.
      if tell(string.match(id, '^[^:]*'), id) > 0 and not alone then n = n - 1 end
    end
  end
end
