-- Look at jobs and queues; change nothing. Needs base, moves.
-- ARGV[3] 'get': ARGV[4..] (queue's key, id) each. Result: now, then a row each, false for none (see row).
--         'stats': all of KEYS. Result: (name, counts ...) each: see below; a queue that is not known is left out.
--         'names': Result: the names of all queues.
--         'pages': Result: the numbers of the pages of each key, a list each.
--         'page': ARGV[4] page, [5] states or '', [6] msgpack of (key, reason, kind, before, after), false: any;
--           [7] 'count', or 'rows' with [8] order below which to look, '' for any. Result: now, then (order, row) each,
--           the newest first; or (state, how many) each.
local op, out = ARGV[3], {}
local function row(q, sid)
  local j = job(q, sid)
  if not j then return false end
  local st = state_of(j)
  local over = ended(j)
  local res = j.rtil > now and call('HGET', q.P .. ':res', sid)
  local notes = call('HGET', q.P .. ':n', sid)
  local failures = call('HGET', q.P .. ':f', sid)
  notes = notes and munpack(notes) or {}
  return { sid, st, j.st, j.b, fmt('%.17g', over and j.run_at or j.at), j.attempt, j.crashes, j.reason or false,
           fmt('%.17g', j.fin), j.st == 'R' and j.holder or false, j.cancelling and 1 or 0, res or false,
           notes.progress or false, over and notes.usage or false, failures or false }
end
if op == 'get' then
  out[1] = fmt('%.17g', now)
  for i = 4, #ARGV, 2 do
    local q = open(KEYS[1 + ARGV[i]])
    out[#out + 1] = q and row(q, ARGV[i + 1]) or false
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
      local rate = s[S_DRAINED] * math.exp((s[S_DRAINED_AT] - now) / TAU) / TAU
      out[#out + 1] = { q.name, s[S_DEPTH], s[S_READY] + late, due - late - (s[S_PARKED] - parked_late), s[S_RUN],
        s[S_PARKED] - parked_late, call('ZCARD', P .. ':dead'), oldest < math.huge and fmt('%.17g', max(0, now - oldest)) or '0',
        fmt('%.17g', rate), q.paused and 1 or 0, consumers[q.name] or 0, L[L_DEPTH] or false, s[S_BYTES], L[L_BYTES] or false, s[S_SHED] }
    end
  end
elseif op == 'pages' then
  for i = 2, #KEYS do out[i - 1] = call('HKEYS', KEYS[i] .. ':ac') end
else
  local states, wanted, counting = ARGV[5], munpack(ARGV[6]), ARGV[7] == 'count'
  local below, found, counts = tonumber(ARGV[8]) or math.huge, {}, {}
  local key, reason, kind, before, after = wanted[1], wanted[2], wanted[3], wanted[4], wanted[5]
  for i = 2, #KEYS do
    local q = open(KEYS[i])
    local sids = q and call('LRANGE', q.P .. ':a:' .. ARGV[4], 0, -1) or {}
    if #sids > 0 then load(q, sids) end
    for n = 1, #sids do
      local j = q.jobs[sids[n]]
      if j and floor(j.order / PAGE) == tonumber(ARGV[4]) and j.order < below and not j.seen and (not key or j.key == key) then
        j.seen = true
        local st = state_of(j)
        local why = st == 'e' and j.st ~= 'e' and 'expired' or (st == 'e' and 'expired') or j.reason
        local name = kind and kind_of(j)
        local enq = (before or after) and sunpack('>d', j.b, 19)
        if (states == '' or string.find(states, st, 1, true)) and (not reason or why == reason)
          and (not kind or name == kind or string.match(name, '^[^@]*') == kind)
          and (not before or enq < before) and (not after or enq >= after) then
          if counting then counts[st] = (counts[st] or 0) + 1 else found[#found + 1] = j end
        end
      end
    end
  end
  if counting then
    for st, n in pairs(counts) do out[#out + 1] = st; out[#out + 1] = n end
  else
    table.sort(found, function(a, b) return a.order > b.order end)
    out[1] = fmt('%.17g', now)
    for _, j in ipairs(found) do
      out[#out + 1] = { fmt('%.0f', j.order), j.q.name, row(j.q, j.sid) }
    end
  end
end
return out
