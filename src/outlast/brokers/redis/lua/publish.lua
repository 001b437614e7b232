-- Keep messages. Needs base, moves, admit.
-- ARGV[3] limits of a queue that nobody has declared; ARGV[4] width: 2 where all are of KEYS[2], else 3;
-- ARGV[5..] (id, record) or (number of its key, id, record) each, records as admit.accept takes them.
-- Result: index (from 0), answer of each that was not simply accepted.
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
  local past = call('EXISTS', q.P .. ':p') == 1 and call('HMGET', q.P .. ':p', unpack(sids)) or {}
  local seen, order, added, bytes, second = {}, tonumber(call('GET', D .. ':order') or '0'), 0, 0, spack('>I4', ceil(now))
  local line, records, push, page, paged = q.plain, held_back(q, 'HSET :b'), held_back(q, q.plain.push), nil, nil
  local stood, latest, inf = 0, now * 1000, -math.huge
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
      bytes = bytes + #blob - 23 - klen - xlen - (flags >= 4 and 8 or 0)
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
          line.n, line.tail, line.tailo = line.n + stood, tail == inf and line.tail or tail, tailo
          q.s[S_READY], q.ready, stood = q.s[S_READY] + stood, q.ready + stood, 0
          local j = parse(q, sid, record, false)
          stand(j)
          if j.inz then touch(j) end
          tail, tailo = line.tail, line.tailo
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
  local s = q.s
  s[S_READY], q.ready, s[S_DEPTH], s[S_BYTES] = s[S_READY] + stood, q.ready + stood, s[S_DEPTH] + added, s[S_BYTES] + bytes
  if added > 0 then call('INCRBY', D .. ':order', added) end
  return true
end

if not (width == 2 and at_once(make(KEYS[2], ARGV[3]))) then
  for i = 5, #ARGV, width do
    local q, sid, blob
    if width == 2 then q, sid, blob = make(KEYS[2], ARGV[3]), ARGV[i], ARGV[i + 1]
    else q, sid, blob = make(KEYS[1 + ARGV[i]], ARGV[3]), ARGV[i + 1], ARGV[i + 2] end
    local answer = accept(q, sid, blob, true, true)
    if answer then out[#out + 1] = n; out[#out + 1] = answer end
    n = n + 1
  end
  count_orders()
end
flush()
tell()
return out
