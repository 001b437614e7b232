-- Notes that a process uses a limiter, and counts those that do.
-- KEYS[1] zset process -> the time of its last note; it expires with the last process.
-- ARGV[1] now: seconds since 1970, '' for this server's clock. ARGV[2] the channel of changes, not used.
-- ARGV[3] the process. ARGV[4] seconds after which a process that notes nothing does not count.
-- Result: the number of processes.
local now = tonumber(ARGV[1])
if not now then
  local t = redis.call('TIME')
  now = tonumber(t[1]) + tonumber(t[2]) / 1000000
end
redis.call('ZADD', KEYS[1], now, ARGV[3])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - tonumber(ARGV[4]))
redis.call('EXPIRE', KEYS[1], ARGV[4])
return redis.call('ZCARD', KEYS[1])
