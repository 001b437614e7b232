-- Request a notification when jobs end. KEYS as in clock. ARGV[3] waiter; [4..] (queue's key, id) each. Needs base, moves.
-- Result: 1 if all have ended or are unknown.
local over = 1
for i = 4, #ARGV, 2 do
  local q = open(KEYS[1 + ARGV[i]])
  local j = q and linked(q, ARGV[i + 1])
  if j and not ended(j) then
    over = 0
    local id = q.name .. '.' .. j.sid
    local bells = call('HGET', D .. ':watch', id) or ''
    if not string.find(' ' .. bells .. ' ', ' ' .. ARGV[3] .. ' ', 1, true) then
      call('HSET', D .. ':watch', id, bells == '' and ARGV[3] or bells .. ' ' .. ARGV[3])
    end
  end
end
return over
