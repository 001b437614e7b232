-- Successors: jobs that wait for a unique key, by the rules of core.succession. Needs base, retain, jobs, moves.
local function drop(j, st, reason)      -- end a waiting job for a new one; not counted in the drain rate
  let_go(j, true)
  j.settled = 0
  finish(j, st, reason, true)
  if reason == 'replaced' then free_key(j, 'purge') end
end
local function waits(j) return j.st == 'Q' or j.st == 'S' or j.st == 'K' end
local function blocks(j) return j.st == 'R' or j.st == 'W' end
local function late(j) return j.expires and now >= j.expires and not has_begun(j) end
local function heir_of(q, uniq)         -- the id of the successor of a unique key, nil for none
  return q.next and call('HGET', q.P .. ':un', uniq) or nil
end
local function succeeds(j) return j.st == 'W' and j.uniq and heir_of(j.q, j.uniq) == j.sid end

local function succeed(q)               -- each successor of the queue takes its key, or ends, as turn_of says
  if not q.next then return end
  sync(q)
  local P, all, sids, heirs, held = q.P, call('HGETALL', q.P .. ':un'), {}, {}, {}
  for i = 2, #all, 2 do sids[#sids + 1] = all[i] end
  load(q, sids)
  for i = 1, #all, 2 do
    local j = q.jobs[all[i + 1]]
    if j and j.st == 'W' then heirs[#heirs + 1] = j
    else call('HDEL', P .. ':un', all[i]) end       -- changed by code that knows no successors
  end
  if #heirs == 0 then
    call('HDEL', P .. ':c', 'next')
    q.next = nil
    return
  end
  table.sort(heirs, by_order)
  sids = {}
  for i, j in ipairs(heirs) do
    local packed = call('HGET', P .. ':u', j.uniq)
    if packed then
      held[i] = munpack(packed)
      sids[#sids + 1] = held[i][1]
    end
  end
  load(q, sids)
  local some
  q.lapse = nil
  for i, j in ipairs(heirs) do
    local until_, h = held[i] and held[i][2], held[i] and q.jobs[held[i][1]] or nil
    if h and until_ <= now then h = nil end
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
