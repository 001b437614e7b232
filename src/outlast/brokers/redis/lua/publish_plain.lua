-- The plain case of publish, before what it does not need. Needs base; publish tells the arguments.
local width, out, n = tonumber(ARGV[4]), {}, 0

-- All of one queue, none with a key or a unique key, no bound: the same as accept, with less ado. False: do it one by one.
local function at_once(q)
  local L, sids = q.limits, {}
  if L[L_DEPTH] or L[L_BYTES] or L[L_AGE] then return false end
  for i = 5, #ARGV, 2 do
    if string.byte(ARGV[i + 1], 18) % 4 > 0 then return false end
    sids[#sids + 1] = ARGV[i]
  end
  local known = call('HMGET', q.P .. ':b', unpack(sids))
  local past = call('HMGET', q.P .. ':p', unpack(sids))
  local seen, order, added, bytes, second = {}, call('INCRBY', D .. ':order', #sids) - #sids, 0, 0, spack('>I4', ceil(now))
  local line, records, push, page, paged = q.plain, held_back(q, 'HSET :b'), held_back(q, q.plain.push), nil, nil
  local s, stood, latest, inf = q.s, 0, now * 1000, -math.huge
  local tail, tailo = line.n > 0 and line.tail or inf, line.tailo
  for i = 1, #sids do
    local sid, blob = sids[i], ARGV[4 + 2 * i]
    if known[i] or seen[sid] or (past[i] and sunpack('>d', past[i]) > now) then
      out[#out + 1] = i - 1
      out[#out + 1] = { 'exists', 'id', sid }
    else
      seen[sid] = true
      order, added = order + 1, added + 1
      local run_at, _, prio, flags, klen, xlen = sunpack('>ddBBBI4', blob)
      local size = #blob - 23 - klen - xlen - (flags >= 4 and 8 or 0)
      bytes = bytes + size
      local record = spack('>I6', order) .. second .. blob
      if run_at > now then
        record = sub(record, 1, 27) .. string.char(flags + 8) .. sub(record, 29)
        later(q, 'ZADD :due', run_at, fmt('%014.0f', order) .. sid)
        if run_at - now < 1 then q.ready = q.ready + 1 end
      else
        local rank = rank_of(run_at, prio)
        if rank <= latest and (rank > tail or (rank == tail and order > tailo)) then
          tail, tailo, stood = rank, order, stood + 1
          push[#push + 1] = sid
        else
          line.n, line.z = line.n + 1, line.z + 1
          s[S_READY], q.ready = s[S_READY] + 1, q.ready + 1
          later(q, 'ZADD :z', rank, fmt('%014.0f', order) .. sid)
          later(q, 'HSET :d', sid, spack(BECAME, 'Q', rank, run_at, 1, 0, 0, 16, 0, 0, 0, order, ceil(now), size, flags, 0))
        end
      end
      records[#records + 1] = sid
      records[#records + 1] = record
      if floor(order / PAGE) ~= page then
        page = floor(order / PAGE)
        paged = held_back(q, 'RPUSH :a:' .. page)
      end
      paged[#paged + 1] = sid
      q.paged[page] = (q.paged[page] or 0) + 1
    end
  end
  line.n, line.tail, line.tailo = line.n + stood, tail == inf and line.tail or tail, tailo
  s[S_READY], q.ready, s[S_DEPTH], s[S_BYTES] = s[S_READY] + stood, q.ready + stood, s[S_DEPTH] + added, s[S_BYTES] + bytes
  return true
end

if width == 2 and at_once(make(KEYS[2], ARGV[3])) then
  flush()
  return out
end
