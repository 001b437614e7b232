-- Hand out jobs in the order of core.select. Needs base, claim_plain, retain, jobs, moves, succeed.
-- KEYS[2..] the queues with a demand above 0, by name. ARGV[3] holder; [4] lease; [5] limit; [6] the queue of the last job of the
-- previous claim; [7] the waiter to notify if there is no job, '' for none; [8] known kinds, msgpack list, or '';
-- [9] names of these queues and of those with demand 0, with spaces, '' for none; [10] sequence of this claim, [11] its number there: see
-- 'undo' in hold; [12..] demand of each key.
-- Result: (last: a name, then those of queues that were left out because a key has a wrong type) {last, token, (number, id, record) ...} with number = ((queue's index * 2 + begun) * 2^16 + crashes) * 2^20 +
-- attempt; or
-- {last, seconds until the result may change, '' if it will not, -1 if another call would find more}.
local gcra_next, room, wake, begin_picks, end_picks, pick, unpark_known
do
local RECHECK = 10e9

local function gcra_taken(interval, burst, tat, t) return min(max(tat, t), t + burst * interval) + interval end
function gcra_next(interval, burst, tat, t)
  return max(t, min(tat, t + burst * interval) - (burst - 1) * interval)
end
function room(q, t)           -- how many jobs the limits of the queue let begin; nil: any number
  local L, s, n = q.limits, q.s, nil
  if L[L_CONC] then n = max(0, L[L_CONC] - s[S_RUN]) end
  if L[L_INTERVAL] then
    local r = gcra_room(L[L_INTERVAL], L[L_BURST], s[S_TAT], t)
    n = n and min(n, r) or r
  end
  return n
end
local function lane_room(q, lane, t)
  local L = q.limits
  if L[L_KCONC] and lane.run >= L[L_KCONC] then return false end
  return not L[L_KINTERVAL] or gcra_room(L[L_KINTERVAL], L[L_KBURST], lane.tat, t) > 0
end
local function park(q, lane, t)
  local L = q.limits
  lane.given = 0
  if L[L_KCONC] and lane.run >= L[L_KCONC] then lane.where, lane.wake = 2, t + RECHECK
  else lane.where, lane.wake = 3, gcra_next(L[L_KINTERVAL], L[L_KBURST], lane.tat, t) end
  call('ZADD', q.P .. ':park', fmt('%.0f', lane.wake), in_turn(lane))
end
function wake(q, t)           -- due keys join the ring, up to 1000 per call
  local members = call('ZRANGEBYSCORE', q.P .. ':park', '-inf', fmt('%.0f', t), 'LIMIT', 0, 1000)
  if #members == 0 then return end
  call('ZREM', q.P .. ':park', unpack(members))
  local keys = {}
  for i = 1, #members do keys[i] = sub(members[i], 16) end
  lanes_of(q, keys)
  for _, key in ipairs(keys) do join(q, lane_of(q, key)) end
  q.skipping = q.skipping or #members == 1000
end
function begin_picks(q)       -- from here on joins are kept in q.joins: a lane may have several turns in one call
  sync(q)
  q.joins, q.ji, q.ring, q.ri, q.rfrom = {}, 1, {}, 1, 0
  q.rlen = call('LLEN', q.P .. ':ring')
end
local function off(q)               -- remove the lane at the front of the ring
  if q.rfrom < q.rlen then q.rfrom, q.ri = q.rfrom + 1, q.ri + 1 else q.ji = q.ji + 1 end
end
local function head(q, n)           -- the lane at the front of the ring, nil if it is empty
  while true do
    local entry
    if q.rfrom < q.rlen then
      if q.ri > #q.ring then
        q.ring, q.ri = call('LRANGE', q.P .. ':ring', q.rfrom, q.rfrom + min(n, 500)), 1
        local keys = {}
        for i = 1, #q.ring do keys[i] = sub(q.ring[i], 16) end
        lanes_of(q, keys)
      end
      entry = q.ring[q.ri]
    else entry = q.joins[q.ji] end
    if not entry then return nil end
    local lane = lane_of(q, sub(entry, 16))
    if lane.where == 1 and lane.turn == tonumber(sub(entry, 1, 15)) then return lane end
    off(q)                          -- a stale entry: the key was removed, and may have joined again since
    q.s[S_STALE] = q.s[S_STALE] - 1
  end
end
function end_picks(q)
  if q.rfrom > 0 then call('LTRIM', q.P .. ':ring', q.rfrom, -1) end
  local left = {}
  for i = q.ji, #q.joins do left[#left + 1] = q.joins[i] end
  if #left > 0 then many('RPUSH', q.P .. ':ring', left) end
  q.joins = nil
end
function pick(q, t, n)        -- the next job, nil if there is none
  local L, s = q.limits, q.s
  while true do
    local lane, j = head(q, n), nil
    local plain = q.plain.n > 0 and peek(q, q.plain, n)
    if plain and lane and s[S_TURN] >= lane.turn then plain = nil end
    if not plain and not lane then return nil end
    if plain then
      j = plain
      take(q, q.plain, j)
      s[S_BACK] = s[S_BACK] + 1
      s[S_TURN] = s[S_BACK]
    elseif lane.n == 0 then
      lane.where, lane.given = 0, 0
      off(q)
    elseif not lane_room(q, lane, t) then
      off(q)
      park(q, lane, t)
    else
      j = peek(q, lane, min(n, (L[L_WEIGHTS] and L[L_WEIGHTS][lane.key] or 1) + 1))
      if not j then return nil end     -- too many removed jobs before it: the next call skips more
      take(q, lane, j)
      lane.run, lane.given = lane.run + 1, lane.given + 1
      if L[L_KINTERVAL] then lane.tat = gcra_taken(L[L_KINTERVAL], L[L_KBURST], lane.tat, t) end
      if lane.n == 0 then lane.where, lane.given = 0, 0; off(q)
      elseif not lane_room(q, lane, t) then off(q); park(q, lane, t)
      elseif lane.given >= (L[L_WEIGHTS] and L[L_WEIGHTS][lane.key] or 1) then off(q); join(q, lane) end
    end
    if j then
      s[S_RUN] = s[S_RUN] + 1
      if L[L_INTERVAL] then s[S_TAT] = gcra_taken(L[L_INTERVAL], L[L_BURST], s[S_TAT], t) end
      return j
    end
  end
end
function unpark_known(q)      -- make parked jobs of known kinds ready
  if q.s[S_PARKED] == 0 or ARGV[8] == '' then return end
  for _, kind in ipairs(munpack(ARGV[8])) do
    if call('HEXISTS', q.P .. ':pk', kind) == 1 then
      local sids = call('SRANDMEMBER', q.P .. ':pk:' .. kind, 1000)
      load(q, sids)
      local jobs = {}
      for _, sid in ipairs(sids) do jobs[#jobs + 1] = q.jobs[sid] or nil end
      table.sort(jobs, by_order)
      for _, j in ipairs(jobs) do
        if j.st == 'K' then lift(j); put(j, now, 'S') end
      end
    end
  end
  sync(q)
end
end

renew(holder, lease)
if lapse() then succeed_everywhere() end
local serving, first = {}, 1
failed = {}
local function leave_out(P)         -- a key of this queue has a wrong type: the others give jobs
  failed[string.match(P, '([^:]*)}$')] = true
end
do
local function prepare(i)
  local q, demand = open(KEYS[i]), tonumber(ARGV[10 + i])
  if q and not q.paused then
    local t = rel(q)
    if room(q, t) ~= 0 then
      call('SCARD', q.P .. ':h:' .. holder)     -- one of a wrong type fails here, before anything is changed
      succeed(q)
      unpark_known(q)
      promote(q)
      local r = room(q, t)
      wake(q, t)
      begin_picks(q)
      serving[#serving + 1] = { q = q, t = t, most = r and min(r, demand) or demand, index = i - 2, given = 0 }
      if q.name <= last then first = #serving + 1 end
    end
  end
end
for i = 2, #KEYS do
  if not pcall(prepare, i) then leave_out(KEYS[i]) end
end
end
local function try_pick(q, t, n)
  local ok, j = pcall(pick, q, t, n)
  if ok then return j end
  leave_out(q.P)
end
local picked, open_lines = {}, {}
for i = 0, #serving - 1 do open_lines[#open_lines + 1] = serving[(first - 1 + i) % #serving + 1] end
if #open_lines == 1 then             -- the same, faster; claim_plain may have handed out some already
  local each = open_lines[1]
  local most = min(limit, each.most) - taken
  for i = 1, most do
    local j = try_pick(each.q, each.t, most - i + 1)
    if not j then break end
    picked[i] = j
    j.index = each.index
  end
  if #picked > 0 then last = each.q.name end
  open_lines = {}
end
while #open_lines > 0 and #picked < limit do
  local going = {}
  for _, each in ipairs(open_lines) do
    if #picked == limit then break end
    local j = try_pick(each.q, each.t, min(limit - #picked, each.most - each.given))
    if j then
      picked[#picked + 1] = j
      j.index = each.index
      last = each.q.name
      each.given = each.given + 1
      if each.given < each.most then going[#going + 1] = each end
    end
  end
  open_lines = going
end
for _, each in ipairs(serving) do
  if not pcall(end_picks, each.q) then leave_out(each.q.P) end
end

out[1] = last
for _, each in ipairs(serving) do
  if taken == 0 then token = max(token, each.q.s[S_TOKEN] + 1) end
end
if taken + #picked > 0 then
  out[2] = fmt('%.0f', token)
  call('SET', stream, ARGV[11] .. ' ' .. out[2], 'EX', 3600)    -- else a lost claim could not be undone
  for _, each in ipairs(serving) do each.q.s[S_TOKEN] = token end
  for i, j in ipairs(picked) do
    local q = j.q
    if j.holder then let_go(j, true); sync(q) end
    j.st, j.token, j.open, j.lapsed, j.settled, j.holder, j.reason = 'R', token, true, false, 0, holder, nil
    later(q, held, j.sid)
    if j.uniq then free_key(j, 'start') end
    touch(j)
    local n = 3 * (taken + i)
    out[n], out[n + 1], out[n + 2] = ((j.index * 2 + (has_begun(j) and 1 or 0)) * 65536 + j.crashes) * 1048576 + j.attempt, j.sid, j.b
  end
  if bell ~= '' then
    for _, each in ipairs(serving) do
      if each.q.waited then pcall(call, 'SREM', each.q.P .. ':w', bell) end
    end
  end
else
  local soon
  local function at(seconds)
    if seconds and (not soon or seconds < soon) then soon = seconds end
  end
  local function see(i)
    local q = open(KEYS[i])
    if q and not q.paused then
      local L, s, t = q.limits, q.s, rel(q)
      local due = room(q, t) ~= 0 and call('ZRANGE', q.P .. ':due', 0, 0, 'WITHSCORES')[2]
      at(due and due - now)
      at(q.lapse and q.lapse - now)
      if not (L[L_CONC] and s[S_RUN] >= L[L_CONC]) then
        local parked = call('ZRANGE', q.P .. ':park', 0, 0, 'WITHSCORES')[2]
        if L[L_INTERVAL] and gcra_room(L[L_INTERVAL], L[L_BURST], s[S_TAT], t) < 1 then
          if s[S_READY] > 0 or parked then at((gcra_next(L[L_INTERVAL], L[L_BURST], s[S_TAT], t) - t) / 1e9) end
        else at(parked and (parked - t) / 1e9) end
      end
    end
    if q and bell ~= '' and micros % 8 == 0 then prune(q, 200) end     -- retention of an idle queue
    if bell ~= '' then
      call('SADD', KEYS[i] .. ':w', bell)
      if not (q and q.waited) then call('HSET', KEYS[i] .. ':c', 'waited', 1) end
    end
  end
  for i = 2, #KEYS do
    if not pcall(see, i) then leave_out(KEYS[i]) end
  end
  if bell ~= '' then                 -- a claim before may have waited for the queues with demand 0 under this name
    local here = {}
    for i = 2, #KEYS do here[KEYS[i]] = true end
    for name in string.gmatch(ARGV[9], '%S+') do
      if not here[prefix(name)] then pcall(call, 'SREM', prefix(name) .. ':w', bell) end
    end
  end
  local leases = call('ZRANGE', D .. ':leases', 0, 1, 'WITHSCORES')
  for i = 1, #leases, 2 do
    if leases[i] ~= holder then at(leases[i + 1] - now); break end
  end
  out[2] = soon and fmt('%.6f', max(0, soon)) or ''
  for _, each in ipairs(serving) do
    if each.q.skipping and not failed[each.q.name] then out[2] = '-1' end
  end
end
flush()
if next(unwritten) and taken + #picked > 0 then    -- the hand-outs of queues that could not be written do not count
  local given = { out[1], out[2] }
  for n = 3, #out, 3 do
    local queue = string.match(KEYS[2 + floor(out[n] / 2 ^ 37)], '([^:]*)}$')
    if not unwritten[queue] then
      for at = n, n + 2 do given[#given + 1] = out[at] end
    end
  end
  out = #given > 2 and given or { out[1], '1' }
end
for name in pairs(failed) do out[1] = out[1] .. ' ' .. name end
return out
