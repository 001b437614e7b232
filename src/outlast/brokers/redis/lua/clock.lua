-- What every script begins with: the clock, how all is kept, and the bells.
-- What a plain call does not need stands in files that follow it: only what is reached costs anything.
--
-- KEYS[1] D, "{space}": what belongs to no queue alone. KEYS[2..] P, "{space:queue}". On a Cluster each queue is a place
-- of its own, in its own slot: D is "{space:queue}:" there, and "{space}" for what belongs to no queue at all.
-- ARGV[1] now: seconds since 1970, '' for this server's clock. ARGV[2] the birth of this place: another one means that
-- it was emptied, and is answered with the error REBORN before anything has changed.
--
-- Of D   born; queues: set of names; order: counter of acceptances; leases: zset holder -> end of its lease;
--        gone: zset of holders whose lease lapsed; asked: hash holder -> the queues it asks for;
--        lost:H list of (queue, id, token) that holder H lost; watch: hash id -> who waits for its end
-- Of P   c   hash: limits (msgpack array, see L_), s (counters, see S_), paused, app, declared, changes, relook;
--            waited: w may hold somebody; past: p may hold something; born: as D's
--        b   hash id -> record: what was accepted (see below)
--        d   hash id -> what became of it (see below); none: it is as it was accepted
--        r, z; r:K, z:K   a line: ids in order of rank, and out of that order (zset rank, order..id); K: the key's own
--        k   hash key -> lane; ring: list of turn..key; park: zset wake -> turn..key
--        due zset at -> order..id; pk hash kind -> parked jobs; pk:KIND set of them
--        h:H set of what holder H holds; u hash unique key -> (id, until)
--        ended, dead, kept: zsets of what has ended, by the time of its end (kept: by that of its result's)
--        p hash id -> (until, token): remembered; pl list of these ids; a:N list of ids by order; ac hash N ->
--        less how many of them went
--        res, f, n: hashes id -> result, failures, notes; w set of who waits for a job
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
-- S_PLAIN: what a plain publish changes stands first. S_KEYED: it has ever had a job with a key; S_STALE: entries of the
-- ring whose key was forgotten; S_END: when the last one ended
local L_DEPTH, L_BYTES, L_AGE, L_SHED, L_CONC, L_INTERVAL, L_BURST, L_KCONC, L_KINTERVAL, L_KBURST = 1, 2, 3, 4, 5, 6, 7, 8, 9, 10
local L_KDEPTH, L_KBYTES, L_KAGE, L_TTL, L_RECORDS, L_DEAD, L_MEMORY, L_WEIGHTS = 11, 12, 13, 14, 15, 16, 17, 18
local PAGE, TAU = 1000, 30
local function trunc(x) return x < 0 and ceil(x) or floor(x) end
local function rank_of(at, prio) return trunc((at - (1 - prio) * 60) * 1000) end

-- A record: order, second of acceptance, run_at, enqueued_at, priority, flags, length of kind and of ext; then
-- expires_at if flag 4; kind; ext: msgpack of (key, unique, until start, until, replace, seconds, headers, redacted);
-- arguments. Flags: 1 key, 2 unique, 4 expires, 8 not due when it was accepted.
-- What became of it: state, rank, at, attempt, crashes, token, flags, settled, finished, result until; of the record order,
-- second of acceptance, size, flags; then the length of the holder, the holder, the reason.
-- States: Q ready, S scheduled, K parked, R running, W waiting; s d c e as they end.
-- Flags: 1 open, 2 lapsed, 4 cancelling, 8 an entry in r stands for it no more, 16 it stands in z.
local BECAME = '>c1ddI4I2dBdddI6I4I4BB'

local alone = sub(D, -1) == ':'         -- the place of one queue
local function tell(bell, id)
  return call('PUBLISH', (alone and string.match(D, '^[^:]*') .. '}' or D) .. ':bell:' .. bell, id)
end
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
      -- On a Cluster a server counts only those who listen at itself: there all who wait are rung for.
      if tell(string.match(id, '^[^:]*'), id) > 0 and not alone then n = n - 1 end
    end
  end
end
