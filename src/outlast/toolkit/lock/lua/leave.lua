-- Give up a turn or a place in line. KEYS: h, w, x. ARGV[3] holder, [4] the change that those who wait are told of.
-- Needs nothing.
local left = redis.call('HDEL', KEYS[1], ARGV[3])
if left == 0 then
  left = redis.call('ZREM', KEYS[2], ARGV[3])
  redis.call('ZREM', KEYS[3], ARGV[3])
end
if left == 1 and redis.call('EXISTS', KEYS[2]) == 1 then redis.call('PUBLISH', ARGV[2], ARGV[4]) end
return left
