-- Holders: extend, forfeit, save. Needs base, moves, succeed.
-- ARGV[3] 'extend', [4] holder, [5] lease: all queues of this keyspace. Result: (queue, id, token, why) each, flat.
--         'forfeit', [4] holder, [5] '1' if it crashed. Result: how many it held.
--         'undo', [4] holder, [5] sequence, [6] number: the reply of this claim was lost; its jobs are ready again. If the
--         claim of this number comes late, it hands out nothing. Result: how many it had handed out.
--         'save', [4] msgpack of (queue's key, id, token, name, JSON) each. Result: indices (from 0) of the superseded.
call('DEL', D .. ':full')             -- first: it lets a server at its maxmemory renew running jobs
local op, out = ARGV[3], {}
if op == 'extend' then
  local holder = ARGV[4]
  -- On a Cluster every queue is called for every holder: one that never claimed here has nothing to renew.
  if alone and not (call('ZSCORE', D .. ':leases', holder) or call('ZSCORE', D .. ':gone', holder)) then return out end
  renew(holder, tonumber(ARGV[5]))
  local key = D .. ':lost:' .. holder
  local read, fences = pcall(call, 'LRANGE', key, 0, -1)
  for _, packed in ipairs(read and fences or {}) do
    local x = table_in(packed)          -- one that cannot be read must not end the lease of the other jobs
    if type(x[1]) == 'string' and type(x[2]) == 'string' and type(x[3]) == 'number' then
      for _, part in ipairs({ x[1], x[2], fmt('%.0f', x[3]), 'superseded' }) do out[#out + 1] = part end
    end
  end
  call('DEL', key)
  for _, q in ipairs(every()) do
    local ok, sids = pcall(call, 'SMEMBERS', q.P .. ':x')     -- running jobs to cancel: mostly none
    if not ok or (#sids > 0 and not pcall(load, q, sids)) then sids = {} end
    for _, sid in ipairs(sids) do
      local j = q.jobs[sid]
      if j and j.cancelling and j.holder == holder then
        for _, part in ipairs({ q.name, j.sid, fmt('%.0f', j.token), 'cancelled' }) do out[#out + 1] = part end
      end
    end
  end
elseif op == 'undo' then
  local holder, stream, number, all = ARGV[4], D .. ':g:' .. ARGV[5], ARGV[6], {}
  local n, token = string.match(call('GET', stream) or '0 0', '^(%d+) (%d+)$')
  call('SET', stream, number .. ' 0', 'EX', 3600)
  if n == number then
    for _, q in ipairs(every()) do
      for _, j in ipairs(held_by(q, holder)) do
        if j.st == 'R' and j.token == tonumber(token) then all[#all + 1] = j end
      end
    end
  end
  table.sort(all, by_order)
  for _, j in ipairs(all) do
    begin(j.q, j.key, -1)
    let_go(j, false)
    j.settled = j.token
    if j.cancelling then finish(j, 'c', 'cancelled') else put(j, min(j.at, now), 'S') end
  end
  for _, j in ipairs(all) do freed(j.q, j.key) end
  succeed_everywhere()
  out = #all
elseif op == 'forfeit' then
  local holder, crashed, all = ARGV[4], tonumber(ARGV[5]), {}
  for _, q in ipairs(every()) do
    for _, j in ipairs(held_by(q, holder)) do all[#all + 1] = j end
    call('UNLINK', q.P .. ':h:' .. holder)
  end
  table.sort(all, by_order)
  out = 0
  for _, j in ipairs(all) do
    j.holder = nil                                 -- the fence stays open: its settlement still counts
    touch(j)
    if j.st ~= 'R' then j.lapsed = false
    else
      out = out + 1
      begin(j.q, j.key, -1)
      if j.cancelling then
        let_go(j, false)
        finish(j, 'c', 'cancelled')
      else
        j.crashes = j.crashes + crashed
        put(j, min(j.at, now), 'S')
      end
      freed(j.q, j.key)
    end
  end
  succeed_everywhere()
  call('ZREM', D .. ':leases', holder); call('ZREM', D .. ':gone', holder); call('HDEL', D .. ':asked', holder); call('HDEL', D .. ':cap', holder)
  call('DEL', D .. ':lost:' .. holder)
else
  for i, each in ipairs(munpack(ARGV[4])) do
    local q = open(KEYS[1 + each[1]])
    local j = q and job(q, each[2])
    if not (j and j.open and j.token == each[3]) then out[#out + 1] = i - 1
    else
      local key = q.P .. ':n'
      local kept = table_in(call('HGET', key, j.sid))
      kept[each[4]] = each[5]
      call('HSET', key, j.sid, mpack(kept))
    end
  end
end
flush()
return out
