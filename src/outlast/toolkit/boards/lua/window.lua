-- The beginning of each script of the boards. ARGV[1] now: seconds since 1970, '' for this server's clock. ARGV[2] the
-- channel of changes, not used. ARGV[3], ARGV[4] begin and end of the period that the client takes for the present one,
-- 0 and 0 without periods. ARGV[5] when the key expires, 0: never.
-- Result: an integer, the time, if that is not in the period: the client calls again with the keys of the right one.
-- KEYS[1] zset member -> score negated, so that the best is first and those of one score are in the order of their
-- bytes; of a unique count a set of members.
local call = redis.call
local now = tonumber(ARGV[1])
if not now then
  local t = call('TIME')
  now = tonumber(t[1]) + tonumber(t[2]) / 1000000
end
if ARGV[4] ~= '0' and (now < tonumber(ARGV[3]) or now >= tonumber(ARGV[4])) then return math.floor(now) end
local MOST = 9007199254740991
local function expire()
  if ARGV[5] ~= '0' then call('PEXPIRE', KEYS[1], math.ceil((tonumber(ARGV[5]) - now) * 1000)) end
end
local function score_of(member)      -- false without one; 0 - 0 is no -0
  local down = call('ZSCORE', KEYS[1], member)
  return down and 0 - tonumber(down)
end
local function put(member, score, old, most)
  if not old and call('ZCARD', KEYS[1]) >= most then return {'full', 0, 0} end
  call('ZADD', KEYS[1], string.format('%.0f', 0 - score), member)
  expire()
  return {'done', score, old and 0 or 1}
end
