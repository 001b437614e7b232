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
local function open(P)      -- a queue by its prefix, nil if it is unknown
  local q = queues[P]
  if q then return q end
  local got = call('HMGET', P .. ':c', 'limits', 's', 'paused', 'waited', 'born', 'past', 'next')
  if not got[2] then return nil end
  if got[5] ~= ARGV[2] then
    if not same_birth() then return nil end
    call('HSET', P .. ':c', 'born', ARGV[2])
  end
  local s = { sunpack(S_FORMAT, got[2]) }
  s[23] = nil
  q = { P = P, name = string.match(P, '([^:]*)}$'), limits = munpack(got[1]), s = s, before = got[2], paused = got[3] == '1',
        waited = got[4], past = got[6], next = got[7], jobs = {}, lanes = {}, dirty = {}, out = {}, keys = {}, ready = 0,
        freed = 0, paged = {},
        plain = { R = P .. ':r', Z = P .. ':z', push = 'RPUSH :r', zadd = 'ZADD :z', n = s[S_N], tail = s[S_TAIL],
                  tailo = s[S_TAILO], z = s[S_Z] } }
  queues[P] = q
  opened[#opened + 1] = q
  return q
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
  for _, name in ipairs(names) do all[#all + 1] = open(prefix(name)) end
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

local notify = {}                       -- (queue, id) of ended and removed jobs, for their waiters
local write_jobs, erase             -- set by jobs and moves
local function flush()
  for _, q in ipairs(opened) do
    local P, s = q.P, q.s
    if write_jobs then write_jobs(q) end
    sync(q)
    for page, gone in pairs(q.paged) do     -- pages with new or removed ids
      if gone == 0 then call('HSETNX', P .. ':ac', page, 0)
      elseif call('LLEN', P .. ':a:' .. page) + call('HINCRBY', P .. ':ac', page, -gone) <= 0 then
        call('HDEL', P .. ':ac', page)
        call('DEL', P .. ':a:' .. page)
      end
    end
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
      for bell in string.gmatch(bells, '%S+') do tell(bell, id) end
    end
  end
end

if not (KEYS[2] and open(KEYS[2])) and not same_birth() then
  return redis.error_reply('REBORN the server has lost what this store knew')
end
