-- The beginning of the scripts of locks. ARGV[1] now: seconds since 1970, '' for this server's clock. ARGV[2] the channel.
-- Keys of one key of a lock: h hash holder -> 'token end of the lease'; w zset holder -> ticket, those who wait;
-- x zset holder -> end of the place in line. fence: the last token or ticket, the one key that does not expire.
local call, fmt, now, micros = redis.call, string.format, tonumber(ARGV[1]), nil
if now then micros = math.floor(now * 1000000)
else
  local t = call('TIME')
  micros = t[1] * 1000000 + t[2]
  now = micros / 1000000
end
local SLACK = 60000                     -- milliseconds that a key outlives its last lease
local function expire(key, seconds) call('PEXPIRE', key, math.ceil(seconds * 1000) + SLACK) end
local function held(value)              -- token, end of the lease
  local token, ends = string.match(value or '', '^(%S+) (%S+)$')
  return token, tonumber(ends) or 0
end
