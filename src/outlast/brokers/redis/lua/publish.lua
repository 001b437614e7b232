-- Keep messages. Needs clock, publish_plain, base, retain, jobs, moves, succeed, admit.
-- ARGV[3] limits of an undeclared queue; ARGV[4] width: 2 if all are of KEYS[2], else 3, or 4 if one has a max_wait;
-- ARGV[5..] (id, record) or (number of its key, id, record) or these and max_wait ('' for none) each, records as
-- admit.accept takes them.
-- Result: (index from 0, answer) of each message, without plain acceptances.
local n = 0
for i = 5, #ARGV, width do
  local q, sid, blob
  if width == 2 then q, sid, blob = make(KEYS[2], ARGV[3]), ARGV[i], ARGV[i + 1]
  else q, sid, blob = make(KEYS[1 + ARGV[i]], ARGV[3]), ARGV[i + 1], ARGV[i + 2] end
  local answer = accept(q, sid, blob, true, true, false, nil, width == 4 and tonumber(ARGV[i + 3]))
  if answer then out[#out + 1] = n; out[#out + 1] = answer end
  n = n + 1
end
count_orders()
flush()
return out
