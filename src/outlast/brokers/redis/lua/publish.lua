-- Keep messages. Needs base, moves, admit.
-- ARGV[3] limits of a queue that nobody has declared; ARGV[4] width: 2 where all are of KEYS[2], else 3;
-- ARGV[5..] (id, blob) or (number of its key, id, blob) each: see admit.accept. Result: (index, answer ...) of each that
-- was not simply accepted, flat: {index, {answer}} pairs.
local width, out, n = tonumber(ARGV[4]), {}, 0
for i = 5, #ARGV, width do
  local q, sid, blob
  if width == 2 then q, sid, blob = make(KEYS[2], ARGV[3]), ARGV[i], ARGV[i + 1]
  else q, sid, blob = make(KEYS[1 + ARGV[i]], ARGV[3]), ARGV[i + 1], ARGV[i + 2] end
  local answer = accept(q, sid, blob, true, true)
  if answer then out[#out + 1] = n; out[#out + 1] = answer end
  n = n + 1
end
count_orders()
flush()
tell()
return out
