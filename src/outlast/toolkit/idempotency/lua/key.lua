-- One idempotency key. KEYS[1]: hash p digest of the request, t token of its holder, u time at which the lease ends,
-- e time at which the record ends, a answer (absent until the request has ended).
-- ARGV[1] now in seconds, '' for the server's time. ARGV[3] operation:
--   'begin'  [4] payload [5] token [6] lease [7] grace: result {'begun'} {'answered', answer} {'other-payload', left}
--            {'in-flight', left}
--   'renew'  [4] token [5] lease [6] grace: result 1, or 0 when the holder has the key no longer
--   'finish' [4] payload [5] token [6] answer [7] ttl: result 1, 0 when another holder has the key or has answered
--   'free'   [4] token: result 1 or 0
local call, key, op = redis.call, KEYS[1], ARGV[3]
local now = tonumber(ARGV[1])
if not now then
  local time = call('TIME')
  now = time[1] + time[2] / 1e6
end
local had = call('HMGET', key, 'p', 't', 'u', 'e', 'a')
local payload, token, lease_end, expires, answer = had[1], had[2], tonumber(had[3] or 0), tonumber(had[4] or 0), had[5]
if not token or expires <= now then payload, token, answer = false, false, false end

local function text(number) return string.format('%.17g', number) end
local function keep(seconds)
  call('HSET', key, 'e', text(now + seconds))
  call('EXPIRE', key, math.max(1, math.ceil(seconds)))
end

if op == 'begin' then
  if answer then
    if payload == ARGV[4] then return { 'answered', answer } end
    return { 'other-payload', '0' }
  end
  if token and token ~= ARGV[5] and lease_end > now then
    return { payload == ARGV[4] and 'in-flight' or 'other-payload', text(lease_end - now) }
  end
  call('DEL', key)
  call('HSET', key, 'p', ARGV[4], 't', ARGV[5], 'u', text(now + tonumber(ARGV[6])))
  keep(tonumber(ARGV[6]) + tonumber(ARGV[7]))
  return { 'begun' }
elseif op == 'renew' then
  if token ~= ARGV[4] or answer then return 0 end
  call('HSET', key, 'u', text(now + tonumber(ARGV[5])))
  keep(tonumber(ARGV[5]) + tonumber(ARGV[6]))
  return 1
elseif op == 'finish' then
  if token and token ~= ARGV[5] then return 0 end
  if not answer then
    call('HSET', key, 'p', ARGV[4], 't', ARGV[5], 'u', '0', 'a', ARGV[6])
    keep(tonumber(ARGV[7]))
  end
  return 1
end
if token ~= ARGV[4] or answer then return 0 end
call('DEL', key)
return 1
