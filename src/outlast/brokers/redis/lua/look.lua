-- Read jobs and queues; change nothing. Needs base, moves, live_loads.
-- ARGV[3] 'get': ARGV[4..] (queue's key, id) each. Result: now, then a row each, false for none (see row).
--         'stats': all of KEYS. Result: (name, counts ...) each: see below; unknown queues are left out.
--         'totals': Result: the fields of t of each key, flat, a list each.
--         'names': Result: the names of all queues.
--         'pages': Result: the numbers of the pages of each key, a list each.
--         'page': ARGV[4] page, [5] states or '', [6] msgpack of (key, reason, kind, before, after), false: any;
--           [7] 'count', 'kinds', or 'rows' with [8] the upper bound of order, '' for none, [9] the most rows. Result of
--           'rows': now, then (order, queue, row) each, the newest first; of 'count': (state, number) each; of 'kinds':
--           (kind, number) each.
local op, out = ARGV[3], {}
spoil = nil
local function row(q, j)
  if not j then return false end
  local sid, st = j.sid, state_of(j)
  local over = ended(j)
  local res = j.rtil > now and call('HGET', q.P .. ':res', sid)
  local failures, notes, read = call('HGET', q.P .. ':f', sid), call('HGET', q.P .. ':n', sid), true
  if notes then read, notes = pcall(munpack, notes) end
  if not (read and type(notes) == 'table') then notes = { once = notes and '' } end  -- '': no JSON, told as unreadable
  return { sid, st, j.st, j.b, fmt('%.17g', over and j.run_at or j.at), j.attempt, j.crashes, has_begun(j) and 1 or 0, j.reason or false,
           fmt('%.17g', j.fin), j.st == 'R' and j.holder or false, j.cancelling and 1 or 0, res or false,
           notes.progress or false, over and notes.usage or false, failures or false, j.bad or false, notes.once or false }
end
if op == 'get' then
  out[1] = fmt('%.17g', now)
  for i = 4, #ARGV, 2 do
    local q = open(KEYS[1 + ARGV[i]])
    out[#out + 1] = q and row(q, linked(q, ARGV[i + 1])) or false
  end
elseif op == 'names' then return call('SMEMBERS', D .. ':queues')
elseif op == 'stats' then
  local consumers = {}
  local live = {}
  for _, holder in ipairs(call('ZRANGEBYSCORE', D .. ':leases', '(' .. fmt('%.17g', now), '+inf')) do live[holder] = true end
  local asked = call('HGETALL', D .. ':asked')
  for i = 1, #asked, 2 do
    if live[asked[i]] then
      for name in string.gmatch(asked[i + 1], '%S+') do consumers[name] = (consumers[name] or 0) + 1 end
    end
  end
  for i = 2, #KEYS do
    local q = open(KEYS[i])
    if q then
      local s, L, P = q.s, q.limits, q.P
      local late, parked_late = call('ZCOUNT', P .. ':due', '-inf', now), 0
      local due, oldest = call('ZCARD', P .. ':due'), math.huge
      local members = late > 0 and s[S_PARKED] > 0 and call('ZRANGEBYSCORE', P .. ':due', '-inf', now, 'LIMIT', 0, 5000) or {}
      for _, m in ipairs(members) do
        local j = job(q, sub(m, 15))
        if j and j.st == 'K' then parked_late = parked_late + 1 end
      end
      if late > 0 then
        oldest = tonumber(call('ZRANGE', P .. ':due', 0, 0, 'WITHSCORES')[2])
      end
      local best = peek(q, q.plain, 4)
      local keys = call('LRANGE', P .. ':ring', 0, 99)
      for i = 1, #keys do keys[i] = sub(keys[i], 16) end
      for _, m in ipairs(call('ZRANGE', P .. ':park', 0, 99)) do keys[#keys + 1] = sub(m, 16) end
      lanes_of(q, keys)
      for _, key in ipairs(keys) do
        local j = peek(q, lane_of(q, key), 4)
        if j and (not best or j.rank < best.rank or (j.rank == best.rank and j.order < best.order)) then best = j end
      end
      if best then oldest = min(oldest, best.at) end
      local rate = weighed_ends(q) / TAU
      local held, kept = '', call('HMGET', P .. ':c', 'declared', 'changes', 'samples')
      if L[L_CONC] and s[S_RUN] >= L[L_CONC] then held = 'concurrency'
      elseif L[L_INTERVAL] and gcra_room(L[L_INTERVAL], L[L_BURST], s[S_TAT], rel(q)) < 1 then held = 'rate' end
      out[#out + 1] = { q.name, s[S_DEPTH], s[S_READY] + late, due - late - (s[S_PARKED] - parked_late), s[S_RUN],
        s[S_PARKED] - parked_late, call('ZCARD', P .. ':dead'), oldest < math.huge and fmt('%.17g', max(0, now - oldest)) or '0',
        fmt('%.17g', rate), q.paused and 1 or 0, consumers[q.name] or 0, L[L_DEPTH] or false, s[S_BYTES], L[L_BYTES] or false, s[S_SHED],
        call('LLEN', P .. ':ring') - s[S_STALE], call('ZCARD', P .. ':park'), held, kept[1] or false, kept[2] or false,
        q.next and call('HLEN', P .. ':un') or 0, fmt('%.17g', now), fmt('%.17g', weighed_ends(q)), kept[3] or false, live_loads() }
    end
  end
elseif op == 'totals' then
  for i = 2, #KEYS do out[i - 1] = call('HGETALL', KEYS[i] .. ':t') end
elseif op == 'pages' then
  for i = 2, #KEYS do out[i - 1] = call('HKEYS', KEYS[i] .. ':ac') end
else
  local states, wanted, counting, page = ARGV[5], munpack(ARGV[6]), ARGV[7] ~= 'rows', tonumber(ARGV[4])
  local below, most, found, counts = tonumber(ARGV[8]) or math.huge, tonumber(ARGV[9]) or 0, {}, {}
  local key, reason, kind, before, after = wanted[1], wanted[2], wanted[3], wanted[4], wanted[5]
  for i = 2, #KEYS do
    local q = open(KEYS[i])
    local sids = q and call('LRANGE', q.P .. ':a:' .. page, 0, -1) or {}
    local bs = #sids > 0 and call('HMGET', q.P .. ':b', unpack(sids)) or {}
    local ds, mine = #sids > 0 and call('HMGET', q.P .. ':d', unpack(sids)) or {}, 0
    for n = #sids, 1, -1 do         -- no tables here except for matches: there may be a million jobs to read
      local b, d = bs[n], ds[n]
      local order, _, run_at, enq, _, flags, klen, xlen
      if b and #b >= 33 then order, _, run_at, enq, _, flags, klen, xlen = sunpack('>I6I4ddBBBI4', b) end
      local here = order and floor(order / PAGE) == page
      if b and not here and not pcall(decode, q, sids[n], b, false) then       -- it cannot be read: listed where its id is
        order, run_at, enq, flags, klen, xlen, here = page * PAGE + n - 0.5, 0, 0, 0, 0, 0, true
      end
      if d and #d < 72 then d = false end
      if b and here and order < below and not found[order] and (counting or mine < most) then
        local st, at, attempt, crashes, rtil = 'Q', run_at, 1, 0, 0
        if d then st, _, at, attempt, crashes, _, _, _, _, rtil = sunpack('>c1ddI4I2dBddd', d) elseif flags >= 8 then st = 'S' end
        if not string.find('QSKRWsdce', st, 1, true) then st = 'd' end
        local kept, expires = st, flags % 8 >= 4
        if st == 'Q' or st == 'S' or st == 'K' then
          if expires and attempt == 1 and crashes == 0 and rtil >= 0 and #b >= 41 and now >= sunpack('>d', b, 34) then st = 'e' elseif at <= now then st = 'Q' end
        end
        local fits = (states == '' or string.find(states, st, 1, true)) and (not before or enq < before) and (not after or enq >= after)
        if fits and kind then
          local from = expires and 42 or 34
          local name = sub(b, from, from + klen - 1)
          fits = name == kind or string.match(name, '^[^@]*') == kind
        end
        if key and (flags % 2 == 0 or not string.find(b, key, 1, true)) then fits = false end
        if fits and (key or reason) then
          local j = job(q, sids[n])
          fits = (not key or j.key == key) and (not reason or (st == 'e' and kept ~= 'e' and 'expired' or j.reason) == reason)
        end
        if fits then
          mine = mine + 1
          found[order] = { q, sids[n] }
          local as = st
          if ARGV[7] == 'kinds' then
            local from = expires and 42 or 34
            as = sub(b, from, from + klen - 1)
          end
          counts[as] = (counts[as] or 0) + 1
        end
      end
    end
  end
  if counting then
    for as, n in pairs(counts) do out[#out + 1] = as; out[#out + 1] = n end
  else
    local orders_found = {}
    for order in pairs(found) do orders_found[#orders_found + 1] = order end
    table.sort(orders_found, function(one, other) return one > other end)
    out[1] = fmt('%.17g', now)
    for n = 1, min(most, #orders_found) do
      local order = orders_found[n]
      out[#out + 1] = { fmt('%.17g', order), found[order][1].name, row(found[order][1], job(found[order][1], found[order][2])) }
    end
  end
end
return out
