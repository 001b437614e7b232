-- Successors: jobs that wait for a unique key, by the rules of core.succession. Needs base, retain, jobs, moves.
local function drop(j, st, reason)      -- end a waiting job for a new one; not counted in the drain rate
  let_go(j, true)
  j.settled = 0
  finish(j, st, reason, true, reason == 'shed' and 'h' or reason == 'replaced' and 'r' or nil)
  if reason == 'replaced' then free_key(j, 'purge') end
end
local function waits(j) return j.st == 'Q' or j.st == 'S' or j.st == 'K' end
local function blocks(j) return j.st == 'R' or j.st == 'W' end
local function late(j) return j.expires and now >= j.expires and not has_begun(j) end
local function heir_of(q, uniq)         -- the id of the successor of a unique key, nil for none
  return q.next and call('HGET', q.P .. ':un', uniq) or nil
end
local function succeeds(j) return j.st == 'W' and j.uniq and heir_of(j.q, j.uniq) == j.sid end

-- The successors that no entry of `un` leads to, because another program has changed it; newest first. Held jobs wait too.
local function without_entry(q, heirs)
  local known, sids, cursor = {}, {}, '0'
  for _, j in ipairs(heirs) do known[j.sid] = true end
  repeat
    local page = call('HSCAN', q.P .. ':d', cursor, 'COUNT', 1000)
    cursor = page[1]
    for i = 1, #page[2], 2 do
      local sid = page[2][i]
      if sub(page[2][i + 1], 1, 1) == 'W' and not known[sid] then
        known[sid] = true
        sids[#sids + 1] = sid
      end
    end
  until cursor == '0' or #sids >= q.s[S_WAIT] - #heirs
  load(q, sids)
  local found = {}
  for _, sid in ipairs(sids) do
    local j = q.jobs[sid]
    if j and j.st == 'W' and j.uniq and string.find(j.reason or '', '^waits for ') then found[#found + 1] = j end
  end
  table.sort(found, function(one, other) return one.order > other.order end)
  return found
end
local function succeed(q)               -- each successor of the queue takes its key, or ends, as turn_of says
  if not q.next then return end
  sync(q)
  local P, all, sids, heirs, held, lost = q.P, call('HGETALL', q.P .. ':un'), {}, {}, {}, false
  for i = 2, #all, 2 do sids[#sids + 1] = all[i] end
  load(q, sids)
  for i = 1, #all, 2 do
    local j = q.jobs[all[i + 1]]
    if j and j.st == 'W' and j.uniq == all[i] then heirs[#heirs + 1] = j
    else                                -- changed by code that knows no successors, or damaged
      call('HDEL', P .. ':un', all[i])
      lost = true
    end
  end
  if lost and q.s[S_WAIT] > #heirs then
    for _, j in ipairs(without_entry(q, heirs)) do
      if call('HSETNX', P .. ':un', j.uniq, j.sid) == 1 then heirs[#heirs + 1] = j end
    end
  end
  if #heirs == 0 then
    call('HDEL', P .. ':c', 'next')
    q.next = nil
    return
  end
  table.sort(heirs, by_order)
  sids = {}
  for i, j in ipairs(heirs) do
    held[i] = key_entry(q, j.uniq)
    if held[i] then sids[#sids + 1] = held[i][1] end
  end
  load(q, sids)
  local some
  q.lapse = nil
  for i, j in ipairs(heirs) do
    local until_, h = held[i] and held[i][2], held[i] and q.jobs[held[i][1]] or nil
    if h and (until_ <= now or (h.bad and not blocks(h))) then h = nil end      -- a bad one ends when a claim meets it
    if late(j) then
      drop(j, 'e', 'expired')
      some = true
    elseif h and h.order > j.order then
      drop(j, 'c', 'replaced')
      some = true
    elseif h and blocks(h) then
      if until_ < math.huge then q.lapse = min(q.lapse or until_, until_) end
    else
      if h and waits(h) then
        drop(h, 'c', 'replaced')
        some = true
      end
      lift(j)
      j.reason = nil
      take_key(j)
      put(j, j.at, 'S')
    end
  end
  if some then prune(q, 100) end
  sync(q)
end
local function succeed_everywhere()
  for _, q in ipairs(every()) do succeed(q) end
end
