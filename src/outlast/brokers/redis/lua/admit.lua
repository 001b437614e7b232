-- Accept jobs: known ids, unique keys, bounds by the rules of core.admission.make_room. Needs base, moves and succeed.

local make_room
do
local WINDOW, LINES = 100, 16
local function front(q, line, most) -- the first `most` jobs of a line and one more; they stay in it
  if line.n == 0 then return {} end
  sync(q)
  local rs, zs, at = {}, {}, 0
  while #rs < most + 1 and at < SKIPS do
    local sids = call('LRANGE', line.R, at, at + most)
    if #sids == 0 then break end
    at = at + #sids
    load(q, sids)
    for _, sid in ipairs(sids) do
      local j = q.jobs[sid]
      if j and j.st == 'Q' and not (j.inz or j.ghost or j.bad) then rs[#rs + 1] = j end
    end
  end
  if line.z > 0 then
    local members, sids = call('ZRANGE', line.Z, 0, most), {}
    for i = 1, #members do sids[i] = sub(members[i], 15) end
    load(q, sids)
    for _, sid in ipairs(sids) do
      local j = q.jobs[sid]
      if j and not j.bad then zs[#zs + 1] = j end
    end
  end
  local merged, r, z = {}, 1, 1
  while #merged < most + 1 and (rs[r] or zs[z]) do
    local a, b = rs[r], zs[z]
    if a and (not b or a.rank < b.rank or (a.rank == b.rank and a.order < b.order)) then merged[#merged + 1] = a; r = r + 1
    else merged[#merged + 1] = b; z = z + 1 end
  end
  return merged
end
local function without(jobs, gone, most)
  local left = {}
  for _, j in ipairs(jobs) do
    if j ~= gone and #left < most then left[#left + 1] = j end
  end
  return left
end
local function longest(q, key, gone)    -- the front of the longest line other than that of the new job
  sync(q)
  local names, best, most = {}, nil, 0
  for _, name in ipairs(call('ZRANGE', q.P .. ':park', 0, LINES - 1)) do names[#names + 1] = sub(name, 16) end
  local ring, keyless = call('LRANGE', q.P .. ':ring', 0, 4 * LINES - 1), q.plain.n > 0
  lanes_of(q, names)
  local n = 0
  for _, entry in ipairs(ring) do
    local name = sub(entry, 16)
    if lane_of(q, name).where ~= 1 or lane_of(q, name).turn ~= tonumber(sub(entry, 1, 15)) then name = nil end
    if name and keyless and n < LINES and q.s[S_TURN] < lane_of(q, name).turn then names[#names + 1] = false; keyless = false; n = n + 1 end
    if name and n < LINES then names[#names + 1] = name; n = n + 1 end
  end
  if keyless and n < LINES then names[#names + 1] = false end
  for _, name in ipairs(names) do
    local line = name and lane_of(q, name) or q.plain
    if (name or nil) ~= key and min(line.n, WINDOW) > most then best, most = line, min(line.n, WINDOW) end
  end
  return best and without(front(q, best, WINDOW), gone, WINDOW) or {}
end
local function by_urgency(jobs, from)   -- take from the back: the least urgent; of equal ones the first in line
  local left = {}
  for prio = 0, 2 do
    for i = #jobs, from, -1 do
      if jobs[i].prio == prio then left[#left + 1] = jobs[i] end
    end
  end
  return left
end
-- The jobs to shed for a new job: a list (empty: there is room); or nil and the bound that refuses it; or nil, 'large',
-- bound, limit.
function make_room(q, new, gone)
  local L, key = q.limits, new.key
  local kdepth, kbytes, kage = key and L[L_KDEPTH], key and L[L_KBYTES], key and L[L_KAGE]
  if L[L_BYTES] and new.size > L[L_BYTES] then return nil, 'large', 'max_bytes', L[L_BYTES] end
  if kbytes and new.size > kbytes then return nil, 'large', 'per_key.max_bytes', kbytes end
  local sheds, shed, own, other, left = L[L_SHED], {}, nil, nil, nil
  local function first(most) return without(front(q, key and lane_of(q, key) or q.plain, most), gone, most) end
  local function mine()
    if not own then promote(q); own = first(WINDOW) end
    return own
  end
  local function may(j) return sheds and j.prio >= new.prio end
  local age, whose = L[L_AGE], 'max_age'
  if kage and not (age and age < kage) then age, whose = kage, 'per_key.max_age' end
  if age then
    promote(q)
    local eldest = first(1)[1]
    for _, j in ipairs(eldest and now - eldest.at > age and mine() or {}) do
      if now - j.at <= age then break end
      if not may(j) then return nil, whose end
      shed[#shed + 1] = j
    end
  end
  local function next_one(anywhere)
    mine()
    if not left then left = by_urgency(own, #shed + 1) end
    if #left == 0 and anywhere and not other then
      other = #own < WINDOW and longest(q, key, gone) or {}
      left = by_urgency(other, 1)
    end
    return table.remove(left)
  end
  local function room(depth, bytes, max_depth, max_bytes, anywhere)
    depth = depth - #shed
    for _, j in ipairs(shed) do bytes = bytes - j.size end
    while true do
      local bound
      if max_depth and depth + 1 > max_depth then bound = 'max_depth'
      elseif max_bytes and bytes + new.size > max_bytes then bound = 'max_bytes'
      else return nil end
      local j = sheds and next_one(anywhere)
      if not j or not may(j) then return bound end
      shed[#shed + 1] = j
      depth, bytes = depth - 1, bytes - j.size
    end
  end
  if kdepth or kbytes then
    local lane, d, b = lane_of(q, key), 0, 0
    if gone and gone.key == key then d, b = 1, gone.size end
    local bound = room(lane.depth - d, lane.bytes - b, kdepth, kbytes, false)
    if bound then return nil, 'per_key.' .. bound end
  end
  if L[L_DEPTH] or L[L_BYTES] then
    local d, b = gone and 1 or 0, gone and gone.size or 0
    local bound = room(q.s[S_DEPTH] - d, q.s[S_BYTES] - b, L[L_DEPTH], L[L_BYTES], true)
    if bound then return nil, bound end
  end
  return shed
end
end
-- What live holders give the queue: 'slots'; 'untold' if none that claims from it tells, as older code; false if none
-- takes its jobs. Read once in a script, no further than to the first with slots.
local function given_to(q)
  if q.given ~= nil then return q.given end
  q.given = false
  for _, holder in ipairs(call('ZRANGEBYSCORE', D .. ':leases', '(' .. fmt('%.17g', now), '+inf')) do
    local _, claims = pcall(call, 'HGET', D .. ':asked', holder)
    if type(claims) == 'string' and string.find(' ' .. claims .. ' ', ' ' .. q.name .. ' ', 1, true) then
      local _, able = pcall(call, 'HGET', D .. ':cap', holder)
      local _, at = string.find(type(able) == 'string' and able or '', '"' .. q.name .. '":[', 1, true)
      if at and (tonumber(string.match(able, '^%d+', at + 1)) or 0) > 0 then
        q.given = 'slots'
        break
      elseif not at then q.given = 'untold' end
    end
  end
  return q.given
end
local function pace_of(q)               -- slots, ends a second (lua/loads.lua); nil if it is unknown, or no worker takes its jobs
  if q.pace == nil then
    local slots, ends = string.match(call('HGET', q.P .. ':c', 'pace') or '', '^(%S+) (%S+)$')
    slots, ends = tonumber(slots), tonumber(ends)
    q.pace = slots and ends and ends > 0 and given_to(q) == 'slots' and { slots, ends } or false
  end
  if q.pace then return q.pace[1], q.pace[2] end
end
local function too_late(q, j, wait)     -- as core/admission.py: the refusal of one that would not begin in time
  local slots, ends = pace_of(q)
  if not slots or q.paused or j.run_at > now then return nil end
  local function begin(ready, running) return max(0, ready + running + 1 - slots) / ends end
  if begin(q.s[S_DEPTH], 0) <= wait then return nil end
  local ready = q.s[S_READY] + call('ZCOUNT', q.P .. ':due', '-inf', now)
  if j.key then
    lanes_of(q, { j.key })
    local lines = call('LLEN', q.P .. ':ring') - q.s[S_STALE] + call('ZCARD', q.P .. ':park')
    ready = min(ready, (lane_of(q, j.key).n + 1) * (lines + 1))
  end
  local after = begin(ready, q.s[S_RUN]) - wait
  if after <= 0 then return nil end
  return { 'full', 'max_wait', fmt('%.17g', min(3600, max(1, after, 0.1 * wait))), fmt('%.17g', min(3600, 1 / ends)) }
end
local function refusal(q, bound)        -- as core/admission.py
  local _, ends = pace_of(q)
  local depth, of_key = q.s[S_DEPTH], bound == 'per_key.max_depth' and q.limits[L_KDEPTH]
  if not ends and given_to(q) then ends = weighed_ends(q) / TAU end
  if not ends or ends <= 1e-6 then return { 'full', bound, '60', '0' } end
  local jobs = (bound == 'max_depth' and q.limits[L_DEPTH] or depth) * (of_key and max(0.1, 1 / of_key) or 0.1)
  local every = of_key and depth / of_key / ends or 1 / ends
  return { 'full', bound, fmt('%.17g', min(3600, max(1, max(1, jobs) / ends))), fmt('%.17g', min(3600, every)) }
end

local orders, next_order = 0, 0         -- acceptance numbers, counted in one step at flush
local function order_of()
  if orders == 0 then next_order = tonumber(call('GET', D .. ':order') or '0') end
  orders = orders + 1
  return next_order + orders
end
local function known_kind(q, sid)       -- '' if it is not known any more
  local j = job(q, sid)
  if j then return kind_of(j) end
  local past = call('HGET', q.P .. ':p', sid)
  return past and kind_of_past(past) or ''
end
-- Accept one job. blob: its record without the first 10 bytes; aside: hold it for a move. stored: since when another
-- keyspace had it: it replaces no job that was enqueued later, as in enqueue/late.py. wait: its max_wait. Returns nil if accepted, else
-- a list: exists (by, id, kind) | full (bound, seconds, seconds for each further place) | large (size, limit, bound) | done (replaced or '', shed ...).
local function accept(q, sid, blob, bounded, replacing, aside, stored, wait)
  local P = q.P
  if q.jobs[sid] or call('HEXISTS', P .. ':b', sid) == 1 then return { 'exists', 'id', sid, known_kind(q, sid) } end
  local past = call('HGET', P .. ':p', sid)
  if past and past_of(past) > now then return { 'exists', 'id', sid, kind_of_past(past) } end
  local order = order_of()
  local j = parse(q, sid, spack('>I6I4', order, ceil(now)) .. blob, false)
  local replaced, follows, answer
  if j.uniq then
    if not q.swept then succeed(q); q.swept = true end
    local id = holder_of(q, j.uniq)
    if id and job(q, id) and job(q, id).bad then id = nil end     -- it cannot tell what it holds
    local before = id and job(q, id)
    if before and waits(before) and late(before) and not before.uniq_until then
      drop(before, 'e', 'expired')
      prune(q, 100)
      id, before = nil, nil
    end
    if id then                          -- as core.succession.meets says
      local heir = before and blocks(before) and heir_of(q, j.uniq)
      local rival, replaces = job(q, heir or id), j.replace
      if stored and rival and rival.enq > max(stored, j.enq) then replaces = false end
      if before and replacing and waits(before) and replaces then replaced = before
      elseif before and replacing and blocks(before) and (replaces or (before.st == 'R' and before.cancelling and not heir)) then
        replaced, follows = heir and job(q, heir), id
      else
        orders = orders - 1
        local known = replacing and heir or id
        return { 'exists', 'unique', known, known_kind(q, known) }
      end
    end
  end
  local late_answer = wait and too_late(q, j, wait)
  if late_answer then
    orders = orders - 1
    return late_answer
  end
  if bounded and q.bounded == nil then
    local L = q.limits
    q.bounded = (L[L_DEPTH] or L[L_BYTES] or L[L_AGE] or L[L_KDEPTH] or L[L_KBYTES] or L[L_KAGE]) and true or false
  end
  if bounded and q.bounded then
    local shed, bound, name, limit = make_room(q, j, replaced)
    if not shed then
      orders = orders - 1
      if bound == 'large' then return { 'large', j.size, limit, name } end
      return refusal(q, bound)
    end
    if #shed > 0 then
      answer = { 'done', '' }
      for _, each in ipairs(shed) do
        drop(each, 'e', 'shed')
        answer[#answer + 1] = each.sid
      end
      q.s[S_SHED] = q.s[S_SHED] + #shed
    end
  end
  if replaced then
    drop(replaced, 'c', 'replaced')
    answer = answer or { 'done', '' }
    answer[2] = replaced.sid
  end
  q.jobs[sid] = j
  size_counts(j, 1)
  if follows then
    j.st, j.reason = 'W', 'waits for ' .. q.name .. '.' .. follows
    q.s[S_WAIT] = q.s[S_WAIT] + 1
    call('HSET', P .. ':un', j.uniq, sid)
    if not q.next then
      q.next = '1'
      later(q, 'HSET :c', 'next', '1')
    end
    touch(j)
  else take_key(j) end
  if follows then
    -- it stays aside
  elseif aside then
    j.st = 'W'
    q.s[S_WAIT] = q.s[S_WAIT] + 1
  elseif j.run_at > now then
    j.flags = j.flags + 8
    j.b = sub(j.b, 1, 27) .. string.char(j.flags) .. sub(j.b, 29)
    j.st = 'S'
    later(q, 'ZADD :due', j.run_at, member(j))
    if j.run_at - now < 1 then q.ready = q.ready + 1 end
  else
    stand(j)
    if j.inz then touch(j) end
  end
  later(q, 'HSET :b', sid, j.b)
  local page = floor(order / PAGE)
  later(q, 'RPUSH :a:' .. page, sid)
  q.paged[page] = q.paged[page] or 0
  if answer then prune(q, 100) end
  return answer
end
-- Without bounds; the id of one whose unique key is held leads to the job that holds it.
local function accept_follow_up(q, sid, blob, stored)
  local answer = accept(q, sid, blob, false, true, false, stored)
  if answer and answer[1] == 'exists' and answer[2] == 'unique' then
    keep_id(q, sid, now + q.limits[L_MEMORY], 0, kind_in(blob, 24) .. '\0' .. answer[3])
  end
  return answer
end
local function count_orders()           -- before flush
  if orders > 0 then call('INCRBY', D .. ':order', orders) end
end
