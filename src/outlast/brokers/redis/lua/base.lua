-- The queues as tables, buffered writes, and flush, which ends a call. Needs clock.
local queues, opened = {}, {}

-- many(cmd, key, list): one command for a long list, in pieces: unpack fails near 8,000 values.
local function many(cmd, key, list)
  for i = 1, #list, 7000 do call(cmd, key, unpack(list, i, min(i + 6999, #list))) end
end

local born
local function same_birth()         -- each queue has a copy of it, so this is rarely read
  if born == nil then born = call('GET', D .. ':born') == ARGV[2] end
  return born
end
local function add(key, field, by)  -- HINCRBY; what is no number counts as 0
  local ok, n = pcall(call, 'HINCRBY', key, field, by)
  if not ok then n = max(by, 0); call('HSET', key, field, n) end
  return n
end
local open
do                                  -- a script has at most 200 local names: this hides those that only `open` needs
-- Counters that cannot be read are counted again; those that cannot be counted begin again (a rate, bytes). `tail`: then
-- new jobs go to z, until the line was empty once.
local function counters(P, packed)
  local s = { pcall(sunpack, S_FORMAT, packed) }
  local sound = table.remove(s, 1)
  s[23] = nil
  for i = 1, 22 do
    local n = s[i]
    if not (sound and n == n and (i == S_TAIL or i == S_TAILO or (n > -1e300 and n < 1e300))) then sound = false; break end
    if i ~= S_TAIL and i ~= S_TAILO and i ~= S_TAT and i ~= S_BYTES and i ~= S_DRAINED and (n < 0 or n > 2 ^ 53) then sound = false; break end
    if (i <= S_N or (i >= S_Z and i <= S_BACK)) and n ~= floor(n) then sound = false; break end
  end
  if sound then return s end
  local r, z, due, run, parked = call('LLEN', P .. ':r'), call('ZCARD', P .. ':z'), call('ZCARD', P .. ':due'), 0, 0
  for _, key in ipairs({ ':leases', ':gone' }) do
    for _, holder in ipairs(call('ZRANGE', D .. key, 0, -1)) do run = run + call('SCARD', P .. ':h:' .. holder) end
  end
  for _, n in ipairs(call('HVALS', P .. ':pk')) do parked = parked + (tonumber(n) or 0) end
  local depth = call('HLEN', P .. ':b') - call('ZCARD', P .. ':ended') - call('ZCARD', P .. ':dead') - call('ZCARD', P .. ':kept')
  return { max(depth, 0), max(depth - due - run, r + z, 0), 0, r + z, math.huge, 0, z, run, 0, 0, 1e12, floor(now), 0, 0, 0, 0, floor(now),
    0, parked, 1, 0, now }
end
-- Limits that cannot be read let no job begin, until a worker declares the queue again.
local function limits_from(packed)
  local ok, limits = pcall(munpack, packed)
  if ok and type(limits) == 'table' and type(limits[L_TTL]) == 'number' and type(limits[L_RECORDS]) == 'number'
    and type(limits[L_DEAD]) == 'number' and type(limits[L_MEMORY]) == 'number' then
    ok = not limits[L_WEIGHTS] or type(limits[L_WEIGHTS]) == 'table'
    if limits[L_RESULTS] and type(limits[L_RESULTS]) ~= 'number' then ok = false end
    for i = 1, L_KAGE do ok = ok and (type(limits[i]) == 'number' or type(limits[i]) == 'boolean') end
    if ok then return limits, false end
  end
  local none = {}
  for i = 1, L_WEIGHTS do none[i] = false end
  none[L_TTL], none[L_RECORDS], none[L_DEAD], none[L_MEMORY] = 86400, 10000, 2592000, 86400
  return none, true
end
function open(P)            -- a queue by its prefix, nil if it is unknown
  local q = queues[P]
  if q then return q end
  local got = call('HMGET', P .. ':c', 'limits', 's', 'paused', 'waited', 'born', 'past', 'next')
  if not got[2] then return nil end
  if got[5] ~= ARGV[2] then
    if not same_birth() then return nil end
    call('HSET', P .. ':c', 'born', ARGV[2])
  end
  local s, limits, unknown = counters(P, got[2]), limits_from(got[1])
  q = { P = P, name = string.match(P, '([^:]*)}$'), limits = limits, s = s, before = got[2], paused = unknown or got[3] == '1',
        waited = got[4], past = got[6], next = got[7], jobs = {}, lanes = {}, dirty = {}, out = {}, keys = {}, ready = 0, freed = 0, paged = {},
        plain = { R = P .. ':r', Z = P .. ':z', push = 'RPUSH :r', zadd = 'ZADD :z', n = s[S_N], tail = s[S_TAIL],
                  tailo = s[S_TAILO], z = s[S_Z] } }
  queues[P] = q
  opened[#opened + 1] = q
  return q
end
end
local function make(P, limits)      -- the same; create it with these limits if it is new
  local q = open(P)
  if q then return q end
  call('HSET', P .. ':c', 'limits', limits, 'born', ARGV[2], 's',
    spack(S_FORMAT, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, floor(now), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0))
  call('SADD', D .. ':queues', string.match(P, '([^:]*)}$'))
  return open(P)
end
local function prefix(name) return alone and sub(D, 1, -2) or sub(D, 1, -2) .. ':' .. name .. '}' end
local function every()              -- all queues of this keyspace, by name
  local names = call('SMEMBERS', D .. ':queues')
  table.sort(names)
  local all = {}
  for _, name in ipairs(names) do
    local ok, q = pcall(open, prefix(name))     -- a key of a wrong type concerns only the calls for its queue
    if ok then all[#all + 1] = q end
  end
  return all
end

-- Writes of one kind to one key ('HSET :b') are buffered and sent as one command; sync sends them, before a read.
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

-- Count ended jobs of a kind. as: the letter of their state, 'h' shed, 'r' replaced. flush adds them to t.
local function count_end(q, kind, as, n)
  local field = as .. string.match(kind, '^[^@]*')
  if not q.ends then q.ends = {} end
  q.ends[field] = (q.ends[field] or 0) + n
end

local notify = {}                       -- (queue, id) of ended and removed jobs, for their waiters
local write_jobs, erase             -- set by jobs and moves
local failed                        -- by claim: names of queues that it left out; then no error of one is raised
local unwritten = {}                -- names of those whose writes failed, or may be incomplete
local flush
do
local function flush_one(q)
  local P, s = q.P, q.s
  if write_jobs then write_jobs(q) end
  sync(q)
  for page, gone in pairs(q.paged) do     -- pages with new or removed ids
    if gone == 0 then call('HSETNX', P .. ':ac', page, 0)
    elseif call('LLEN', P .. ':a:' .. page) + add(P .. ':ac', page, -gone) <= 0 then
      call('HDEL', P .. ':ac', page)
      call('DEL', P .. ':a:' .. page)
    end
  end
  local line = q.plain
  s[S_N], s[S_TAIL], s[S_TAILO], s[S_Z] = line.n, line.tail, line.tailo, line.z
  local packed = spack(S_FORMAT, unpack(s, 1, 22))
  if packed ~= q.before then call('HSET', P .. ':c', 's', packed) end
  for field, n in pairs(q.ends or {}) do
    if call('HEXISTS', P .. ':t', field) == 0 then field = sub(field, 1, 1) .. 'other' end
    if add(P .. ':t', field, n) < n then call('HSET', P .. ':t', field, n) end      -- it was less than 0
  end
end
local function ring_for(q)
  if q.ready > 0 or q.freed > 0 then ring(q, max(q.ready, min(q.freed, q.s[S_READY]))) end
end
function flush()
  local first
  for _, q in ipairs(opened) do     -- a key of a wrong type in one queue: the writes to the others are done
    local ok, why = pcall(flush_one, q)
    if not ok then unwritten[q.name] = true else ok, why = pcall(ring_for, q) end
    if not ok and failed then failed[q.name] = true
    elseif not ok then first = first or why end
  end
  if first then error(first) end
  if #notify == 0 or call('EXISTS', D .. ':watch') == 0 then return end
  for _, each in ipairs(notify) do
    local id = each[1].name .. '.' .. each[2]
    local bells = call('HGET', D .. ':watch', id)
    if bells then
      call('HDEL', D .. ':watch', id)
      for bell in string.gmatch(bells, '%S+') do tell(bell, id) end
    end
  end
end
end

if not (KEYS[2] and open(KEYS[2])) and not same_birth() then
  return redis.error_reply('REBORN the server has lost what this store knew')
end
