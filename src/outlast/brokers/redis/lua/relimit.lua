-- Apply changed limits: check LOOKS parked keys again, in the order of their turns. If more are left, `relook` in c is the
-- last turn of the old limits: see lua/relook. Needs base, moves.
local LOOKS = 500
local function by_turn(a, b) return a.turn < b.turn end
local function relook(q, members)   -- these join the ring, except those that left the park before
  local keys, lanes, out = {}, {}, {}
  for i, member in ipairs(members) do keys[i] = sub(member, 16) end
  lanes_of(q, keys)
  for i, member in ipairs(members) do
    local lane = lane_of(q, keys[i])
    if lane.where >= 2 and in_turn(lane) == member then
      lanes[#lanes + 1] = lane
      out[#out + 1] = member
    end
  end
  if #lanes == 0 then return end
  many('ZREM', q.P .. ':park', out)
  table.sort(lanes, by_turn)
  for _, lane in ipairs(lanes) do join(q, lane) end
  q.ready = q.ready + q.s[S_READY]
end
local function relimit(q, limits)
  if call('HGET', q.P .. ':c', 'limits') == limits then return end
  call('HSET', q.P .. ':c', 'limits', limits)
  local rated = q.limits[L_KINTERVAL]
  q.limits, q.bounded = munpack(limits), nil
  if rated and not q.limits[L_KINTERVAL] then
    q.s[S_ERA] = q.s[S_ERA] + 1
    for _, lane in pairs(q.lanes) do lane.tat = 0 end
  end
  if call('ZCARD', q.P .. ':park') > LOOKS then call('HSET', q.P .. ':c', 'relook', fmt('%.0f', q.s[S_BACK])) end
  relook(q, call('ZRANGE', q.P .. ':park', 0, LOOKS - 1))
  q.ready = q.ready + q.s[S_READY]
end
