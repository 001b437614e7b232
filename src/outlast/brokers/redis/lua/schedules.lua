-- Schedules: a change applies only if it was made from the last revision of its record.
-- Needs base, moves, succeed, admit, follow.
-- Of D  sched: hash name -> msgpack (revision, seen, fired, skipped, last, body), amends: number of operators' changes.
-- ARGV[3] 'get': Result: amends, then name, revision, seen, fired, skipped, last, body each.
--   'put': ARGV[4] '1' for an operator's change; ARGV[5..] (name, stamp it was made from or '', msgpack or '' to remove)
--          each. Result: 1, or 0 if one of them has another revision or was seen since: nothing was changed then.
--   'move': ARGV[4] limits of an undeclared queue; ARGV[5] msgpack of (name, expect, body, skipped, messages) each, a
--          message as in follow. Result: 1 or 0 each. A message of another keyspace counts as fired; relay corrects this.
local op, out, key = ARGV[3], {}, D .. ':sched'
if op == 'get' then
  out[1] = tonumber(call('GET', D .. ':amends') or '0')
  local all = call('HGETALL', key)
  for i = 1, #all, 2 do
    local x = munpack(all[i + 1])
    for _, part in ipairs({ all[i], x[1], fmt('%.17g', x[2]), x[3], x[4], x[5], x[6] }) do out[#out + 1] = part end
  end
  return out
elseif op == 'put' then
  for i = 5, #ARGV, 3 do
    local had = call('HGET', key, ARGV[i])
    if (had or '') ~= ARGV[i + 1] then
      local x = had and munpack(had)
      if not x or fmt('%.0f %.17g', x[1], x[2]) ~= ARGV[i + 1] then return 0 end
    end
  end
  for i = 5, #ARGV, 3 do
    if ARGV[i + 2] == '' then call('HDEL', key, ARGV[i]) else call('HSET', key, ARGV[i], ARGV[i + 2]) end
  end
  if ARGV[4] == '1' then call('PUBLISH', D .. ':amended', call('INCR', D .. ':amends')) end
  return 1
end
for n, move in ipairs(munpack(ARGV[5])) do
  local had = call('HGET', key, move[1])
  local x = had and munpack(had)
  out[n] = 0
  if x and x[1] == move[2] then
    for _, each in ipairs(move[5]) do
      local answer, sid = follow(each, ARGV[4], move[1]), each[2]
      if not answer then x[3] = x[3] + 1
      elseif answer[1] == 'exists' then
        sid = answer[3]
        if answer[2] == 'unique' then x[4] = x[4] + 1 end
      end
      x[5] = queue_of(each) .. '.' .. sid
    end
    x[1], x[4], x[6] = x[1] + 1, x[4] + move[4], move[3]
    call('HSET', key, move[1], mpack(x))
    out[n] = 1
  end
end
count_orders()
flush()
return out
