-- The plain case of publish, before the code that it does not need, even base. Needs clock; arguments as in publish.
local width, out = tonumber(ARGV[4]), {}

-- One due job that joins the end of its line. got: fields of c. Returns false, with nothing changed: see at_once.
local function one(P, got, sid, blob)
  local run_at, _, prio, flags, klen, xlen = sunpack('>ddBBBI4', blob)
  local depth, ready, bytes, n, tail, tailo, z = sunpack(S_PLAIN, got[1])
  local rank = rank_of(run_at, prio)
  if flags % 4 > 0 or run_at > now or rank > now * 1000 or (n > 0 and rank < tail) then return false end
  local past = got[4] and call('HGET', P .. ':p', sid)
  local gone = past and sunpack('>d', past) > now       -- its id is remembered
  local order = not gone and call('INCR', D .. ':order')    -- above all earlier orders: behind jobs of the same rank
  if gone or call('HSETNX', P .. ':b', sid, spack('>I6I4', order, ceil(now)) .. blob) == 0 then
    local b = not gone and call('HGET', P .. ':b', sid)
    out[1], out[2] = 0, { 'exists', 'id', sid, b and kind_in(b, 34) or kind_of_past(past) }
    return true
  end
  local page, size = floor(order / PAGE), #blob - 23 - klen - xlen - (flags >= 4 and 8 or 0)
  if call('RPUSH', P .. ':a:' .. page, sid) == 1 then call('HSETNX', P .. ':ac', page, 0) end
  call('RPUSH', P .. ':r', sid)
  call('HSET', P .. ':c', 's', spack(S_PLAIN, depth + 1, ready + 1, bytes + size, n + 1, rank, order, z) .. sub(got[1], 57))
  if got[3] then ring({ P = P, waited = got[3] }, 1) end
  return true
end

-- Jobs of one queue, without keys and unique keys: the same as accept, faster. Returns false, with nothing changed, if
-- accept must do it one by one.
local function at_once(P, got)
  local packed, sids, count = got[1], {}, 0
  for i = 6, #ARGV, 2 do
    if string.byte(ARGV[i], 18) % 4 > 0 then return false end
    count = count + 1
    sids[count] = ARGV[i - 1]
  end
  local known, past = call('HMGET', P .. ':b', unpack(sids)), got[4] and call('HMGET', P .. ':p', unpack(sids)) or {}
  local order, seen, soon, second, latest = call('INCRBY', D .. ':order', count) - count, {}, 0, ceil(now), now * 1000
  local depth, ready, bytes, n, tail, tailo, z = sunpack(S_PLAIN, packed)
  local head, records, push, page, paged, due, zadd, became = spack('>I4', second), {}, {}, nil, nil, nil, nil, nil
  if n == 0 then tail = -math.huge end
  local function turn_page()
    if paged and call('RPUSH', P .. ':a:' .. page, unpack(paged)) == #paged then call('HSETNX', P .. ':ac', page, 0) end
  end
  for i = 1, count do
    local sid = sids[i]
    if known[i] or seen[sid] or (past[i] and sunpack('>d', past[i]) > now) then
      out[#out + 1] = i - 1
      local kind = known[i] and kind_in(known[i], 34) or seen[sid] and kind_in(seen[sid], 24) or kind_of_past(past[i])
      out[#out + 1] = { 'exists', 'id', sid, kind }
    else
      local blob = ARGV[4 + 2 * i]
      local run_at, _, prio, flags, klen, xlen = sunpack('>ddBBBI4', blob)
      local size = #blob - 23 - klen - xlen - (flags >= 4 and 8 or 0)
      order, depth, bytes = order + 1, depth + 1, bytes + size
      seen[sid] = blob
      if run_at > now then
        blob = sub(blob, 1, 17) .. string.char(flags + 8) .. sub(blob, 19)
        due = due or {}
        due[#due + 1] = run_at
        due[#due + 1] = fmt('%014.0f', order) .. sid
        if run_at - now < 1 then soon = soon + 1 end
      else
        local rank = rank_of(run_at, prio)
        ready, soon = ready + 1, soon + 1
        n = n + 1
        if rank <= latest and (rank > tail or (rank == tail and order > tailo)) then
          tail, tailo = rank, order
          push[#push + 1] = sid
        else
          z, zadd, became = z + 1, zadd or {}, became or {}
          zadd[#zadd + 1] = rank
          zadd[#zadd + 1] = fmt('%014.0f', order) .. sid
          became[#became + 1] = sid
          became[#became + 1] = spack(BECAME, 'Q', rank, run_at, 1, 0, 0, 16, 0, 0, 0, order, second, size, flags, 0)
        end
      end
      records[#records + 1] = sid
      records[#records + 1] = spack('>I6', order) .. head .. blob
      if floor(order / PAGE) ~= page then
        turn_page()
        page, paged = floor(order / PAGE), {}
      end
      paged[#paged + 1] = sid
    end
  end
  if not paged then return true end
  call('HSET', P .. ':b', unpack(records))
  turn_page()
  if #push > 0 then call('RPUSH', P .. ':r', unpack(push)) end
  if due then call('ZADD', P .. ':due', unpack(due)) end
  if zadd then
    call('ZADD', P .. ':z', unpack(zadd))
    call('HSET', P .. ':d', unpack(became))
  end
  if tail == -math.huge then tail = select(5, sunpack(S_PLAIN, packed)) end
  call('HSET', P .. ':c', 's', spack(S_PLAIN, depth, ready, bytes, n, tail, tailo, z) .. sub(packed, 57))
  if got[3] and soon > 0 then ring({ P = P, waited = got[3] }, soon) end
  return true
end

if width == 2 and #ARGV < 7000 then
  local P = KEYS[2]
  local got = call('HMGET', P .. ':c', 's', 'limits', 'waited', 'past', 'born')
  -- A declared queue without bounds: the first three limits, L_DEPTH to L_AGE, are false, one byte each after the 3 bytes
  -- of the array's header.
  if got[1] and #got[1] == 176 and got[5] == ARGV[2] and sub(got[2], 4, 6) == '\194\194\194' then
    if (#ARGV == 6 and one(P, got, ARGV[5], ARGV[6])) or at_once(P, got) then return #out > 0 and out or nil end
  end
end
