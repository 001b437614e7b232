-- Take over other limits: every parked key gets a new look, in the order of their turns. Needs base, moves.
local function by_turn(a, b) return a.turn < b.turn end
local function relimit(q, limits)
  if call('HGET', q.P .. ':c', 'limits') == limits then return end
  call('HSET', q.P .. ':c', 'limits', limits)
  local rated = q.limits[L_KINTERVAL]
  q.limits, q.bounded = munpack(limits), nil
  if rated and not q.limits[L_KINTERVAL] then
    q.s[S_ERA] = q.s[S_ERA] + 1
    for _, lane in pairs(q.lanes) do lane.tat = 0 end
  end
  local keys, lanes = call('ZRANGE', q.P .. ':park', 0, -1), {}
  for i = 1, #keys do keys[i] = sub(keys[i], 16) end
  for i = 1, #keys, 1000 do
    local some = {}
    for n = i, min(i + 999, #keys) do some[#some + 1] = keys[n] end
    lanes_of(q, some)
  end
  for i, key in ipairs(keys) do lanes[i] = lane_of(q, key) end
  table.sort(lanes, by_turn)
  call('DEL', q.P .. ':park')
  for _, lane in ipairs(lanes) do join(q, lane) end
  q.ready = q.ready + q.s[S_READY]
end
