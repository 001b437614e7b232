-- Retention of ended jobs, and the drain rate. Needs base.
local has = {}
local function exists(q, what)      -- read once: most queues have no results, failures or notes
  local key = q.P .. what
  if has[key] == nil then has[key] = call('EXISTS', key) == 1 end
  return has[key]
end
local function drain(q, n)
  local s = q.s
  s[S_DRAINED] = weighed_ends(q) + n
  s[S_DRAINED_AT] = now
end
local function end_of(q)             -- the time of an end, at least a microsecond after the last: keeps their order
  local last = q.s[S_END]
  local at = (now > last or last - now > 0.0005) and now or last + 1e-6
  q.s[S_END] = at
  return at
end
local function keep_id(q, sid, upto, settled, kind)    -- the only data of a removed job
  if not q.past then
    q.past = '1'
    later(q, 'HSET :c', 'past', '1')
  end
  later(q, 'HSET :p', sid, spack('>dd', upto, settled) .. kind)
  later(q, 'RPUSH :pl', sid)
end
local function key_entry(q, uniq)   -- (id, until) of a unique key, nil for none; one that cannot be read is free
  local held = call('HGET', q.P .. ':u', uniq)
  if not held then return nil end
  local ok, x = pcall(munpack, held)
  if ok and type(x) == 'table' and type(x[1]) == 'string' and type(x[2]) == 'number' then return x end
end
local function prune(q, most)       -- retention, at most `most` records of each sort; returns how many were removed
  sync(q)
  local P, limits, gone = q.P, q.limits, 0
  local function drop(key, sids)
    if #sids == 0 then return end
    many('ZREM', P .. key, sids)
    local res, f, n = exists(q, ':res'), exists(q, ':f'), exists(q, ':n')
    for from = 1, #sids, 5000 do
      local ds = call('HMGET', P .. ':d', unpack(sids, from, min(from + 4999, #sids)))
      for i = 1, #ds do
        local sid = sids[from + i - 1]
        if q.jobs[sid] then erase(q.jobs[sid], q.jobs[sid].settled)    -- it ended in this call, and may be unwritten
        elseif ds[i] and #ds[i] >= 72 then
          local _, _, _, _, _, _, _, settled, _, _, order, acc = sunpack(BECAME, ds[i])
          local page, upto = floor(order / PAGE), acc + limits[L_MEMORY]
          later(q, 'HDEL :b', sid)
          later(q, 'HDEL :d', sid)
          if res then later(q, 'HDEL :res', sid) end
          if f then later(q, 'HDEL :f', sid) end
          if n then later(q, 'HDEL :n', sid) end
          q.paged[page] = (q.paged[page] or 0) + 1
          if upto > now then
            local b = #sid ~= 32 and call('HGET', P .. ':b', sid)
            keep_id(q, sid, upto, settled, b and kind_in(b, 34) or '')
          end
        end
        gone = gone + 1
      end
    end
  end
  local over = call('ZCARD', P .. ':ended') - limits[L_RECORDS]
  if over > 0 then drop(':ended', call('ZRANGE', P .. ':ended', 0, min(over, most) - 1)) end
  drop(':ended', call('ZRANGEBYSCORE', P .. ':ended', '-inf', now - limits[L_TTL] + 0.0005, 'LIMIT', 0, most))
  drop(':dead', call('ZRANGEBYSCORE', P .. ':dead', '-inf', now - limits[L_DEAD] + 0.0005, 'LIMIT', 0, most))
  local results = call('ZCARD', P .. ':kept')
  if results > 0 then
    local passed = call('ZRANGEBYSCORE', P .. ':kept', '-inf', now, 'LIMIT', 0, most)
    local beyond = min(results - (limits[L_RESULTS] or limits[L_RECORDS]), most)
    if beyond > #passed then passed = call('ZRANGE', P .. ':kept', 0, beyond - 1) end
    drop(':kept', passed)
  end
  for _ = 1, most, 100 do           -- expired remembered ids
    local sids = call('LRANGE', P .. ':pl', 0, 99)
    if #sids == 0 then break end
    local past, n = call('HMGET', P .. ':p', unpack(sids)), 0
    for i = 1, #sids do
      if past_of(past[i]) > now then break end
      if past[i] then later(q, 'HDEL :p', sids[i]) end
      n = i
    end
    if n > 0 then call('LTRIM', P .. ':pl', n, -1) end
    if n < #sids then break end
  end
  local free = call('ZRANGEBYSCORE', P .. ':ut', '-inf', now, 'LIMIT', 0, 100)
  for _, uniq in ipairs(free) do
    call('ZREM', P .. ':ut', uniq)
    local held = key_entry(q, uniq)
    if not held or held[2] <= now then call('HDEL', P .. ':u', uniq) end
  end
  sync(q)
  return gone
end

