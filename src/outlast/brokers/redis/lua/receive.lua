-- Accept follow-ups that another keyspace stored for this queue: without its bounds, each id once.
-- Needs base, retain, jobs, moves, succeed, admit.
-- ARGV[3] limits if it is undeclared; ARGV[4..] (id, record, when it was stored or 0) each.
-- Result: (what existed: '' | 'id' | 'unique', id) each.
local out = {}
for i = 4, #ARGV, 3 do
  local answer = accept_follow_up(make(KEYS[2], ARGV[3]), ARGV[i], ARGV[i + 1], tonumber(ARGV[i + 2]))
  local known = answer and answer[1] == 'exists'
  out[#out + 1] = known and answer[2] or ''
  out[#out + 1] = known and answer[3] or ARGV[i]
end
count_orders()
flush()
return out
