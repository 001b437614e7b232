-- Add points. KEYS[2] the mark of `once`, if it is given: its end. ARGV: member, points, the most members, seconds of the
-- mark. Returns state, score, 1 if the member is new. Sums of two numbers up to MOST are exact or above it.
local old = score_of(ARGV[6])
local mark = KEYS[2] and call('GET', KEYS[2])
if mark and tonumber(mark) > now then return {'done', old or 0, 0} end
local score = (old or 0) + tonumber(ARGV[7])
if score > MOST or score < -MOST then return {'beyond', old or 0, 0} end
local done = put(ARGV[6], score, old, tonumber(ARGV[8]))
if KEYS[2] and done[1] == 'done' then
  call('SET', KEYS[2], string.format('%.6f', now + tonumber(ARGV[9])), 'EX', ARGV[9])
end
return done
