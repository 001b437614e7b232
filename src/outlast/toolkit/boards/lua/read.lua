-- Read a board. ARGV: what, member, the most members on each side. Returns the rank from 1 of what comes first (0: the
-- member is not there), then members and scores.
local what, member, most = ARGV[6], ARGV[7], tonumber(ARGV[8])
if what == 'size' then return {call('ZCARD', KEYS[1])} end
if what == 'score' then return {score_of(member)} end
local first, last = 0, most - 1
if what ~= 'top' then
  local at = call('ZRANK', KEYS[1], member)
  if not at then return {0} end
  if what == 'rank' then return {at + 1} end
  first, last = math.max(0, at - most), at + most
end
local found = call('ZRANGE', KEYS[1], first, last, 'WITHSCORES')
local answer = {first + 1}
for i = 1, #found, 2 do
  answer[i + 1] = found[i]
  answer[i + 2] = 0 - tonumber(found[i + 1])
end
return answer
