-- Take a turn, keep it, or stand in line. KEYS: fence, h, w, x. ARGV[3] holder, [4] lease, [5] slots, [6] '1': stand in
-- line, [7] the last token that the caller saw, [8] seconds of a place in line. Returns token ('0': none), ticket ('0':
-- none), seconds until a lease or place of another ends. Needs time.
local FENCE, H, W, X = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local holder, lease, slots, life = ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[8])
local function next_number()
  local n = math.max((tonumber(call('GET', FENCE)) or 0) + 1, micros, tonumber(ARGV[7]) + 1)
  if n >= 2 ^ 53 then error('the fence of locks has reached 2^53: its key, or the clock, was set far ahead') end
  n = fmt('%.0f', n)
  call('SET', FENCE, n)
  return n
end
local holders, mine, soon, last = 0, nil, now + life, now + lease
local all = call('HGETALL', H)
for i = 1, #all, 2 do
  local token, ends = held(all[i + 1])
  if ends <= now then call('HDEL', H, all[i])
  elseif all[i] == holder then mine = token
  else
    holders = holders + 1
    soon, last = math.min(soon, ends), math.max(last, ends)
  end
end
local waiting = call('ZCARD', X)
if waiting > 0 then
  local gone
  repeat
    gone = call('ZRANGEBYSCORE', X, '-inf', now, 'LIMIT', 0, 1000)
    if #gone > 0 then
      call('ZREM', X, unpack(gone))
      call('ZREM', W, unpack(gone))
      waiting = waiting - #gone
    end
  until #gone < 1000
end
local before = waiting > 0 and not mine and call('ZRANK', W, holder) or waiting
if not mine and holders + before < slots then
  if waiting > 0 then
    call('ZREM', W, holder)
    call('ZREM', X, holder)
  end
  mine = next_number()
end
if mine then
  call('HSET', H, holder, mine .. fmt(' %.6f', now + lease))
  expire(H, last - now)
  return { mine, '0', '0' }
end
local ticket = '0'
if ARGV[6] == '1' then
  local kept = call('ZSCORE', W, holder)
  if kept then ticket = fmt('%.0f', tonumber(kept))
  else
    ticket = next_number()
    call('ZADD', W, ticket, holder)
  end
  call('ZADD', X, fmt('%.6f', now + life), holder)
  expire(W, life)
  expire(X, life)
end
local first = call('ZRANGE', X, 0, 0, 'WITHSCORES')
if first[1] and first[1] ~= holder then soon = math.min(soon, tonumber(first[2])) end
return { '0', ticket, fmt('%.6f', soon - now) }
