-- Decides over all limits of a key, as limiter/decide.py does: the same whole numbers, exact in doubles.
-- KEYS[1] the key; its value: msgpack of one array of numbers for each limit. It expires when all of it is back.
-- ARGV[1] now: seconds since 1970, '' for this server's clock. ARGV[2] the channel of changes, not used.
-- ARGV[3] 'gcra', 'fixed' or 'sliding'. ARGV[4] the cost. ARGV[5] '1' if a refused request costs too.
-- Then of each limit: burst, period (us), parts of a request, parts that come back in a us, width of a step (us).
-- Result: 1 or 0 (admitted), then of each limit: remaining, reset (us), wait (us), more (us).
local floor, max, min = math.floor, math.max, math.min
local now
if ARGV[1] == '' then
  local t = redis.call('TIME')
  now = tonumber(t[1]) * 1000000 + tonumber(t[2])
else
  now = floor(tonumber(ARGV[1]) * 1000000)
end
local algorithm, cost, count_refused = ARGV[3], tonumber(ARGV[4]), ARGV[5] == '1'
local function ceil_of(a, b) return floor((a + b - 1) / b) end

local current, take, view                       -- of a limit q; view: remaining, reset, wait for c
if algorithm == 'gcra' then
  function current(q, s)
    if not s then return {now, 0} end
    return {now, max(0, s[2] - max(0, now - s[1]) * q.drain)}
  end
  function take(q, s) return {now, min(s[2] + cost * q.part, q.burst * q.part)} end
  function view(q, s, c)
    local beyond = s[2] + c * q.part - q.burst * q.part
    return floor((q.burst * q.part - s[2]) / q.part), ceil_of(s[2], q.drain), beyond > 0 and ceil_of(beyond, q.drain) or 0
  end
elseif algorithm == 'fixed' then
  function current(q, s)
    local index = floor(now / q.period)
    if not s or index > s[1] then return {index, 0} end
    return {min(s[1], index + 1), s[2]}
  end
  function take(q, s) return {s[1], min(s[2] + cost, q.burst)} end
  function view(q, s, c)
    local left = (s[1] + 1) * q.period - now
    return q.burst - s[2], left, s[2] + c > q.burst and left or 0
  end
else
  local function add(q, s, time, used)
    local n = #s
    if n > 0 and floor(s[n - 1] / q.step) == floor(time / q.step) then
      s[n - 1], s[n] = time, min(s[n] + used, q.burst)
    else
      s[n + 1], s[n + 2] = time, min(used, q.burst)
    end
  end
  function current(q, s)
    local kept = {}
    for at = 1, s and #s or 0, 2 do
      local time = min(s[at], now)
      if time + q.period > now then add(q, kept, time, s[at + 1]) end
    end
    return kept
  end
  function take(q, s)
    add(q, s, now, cost)
    local newer, first = 0, 1
    for at = 4, #s, 2 do newer = newer + s[at] end
    while newer >= q.burst and first < #s - 1 do  -- what is older ends before a request could fit
      first = first + 2
      newer = newer - s[first + 1]
    end
    if first == 1 then return s end
    local kept = {}
    for at = first, #s do kept[#kept + 1] = s[at] end
    return kept
  end
  function view(q, s, c)
    local used, wait = 0, 0
    for at = 2, #s, 2 do used = used + s[at] end
    local remaining = max(0, q.burst - used)
    for at = 1, #s, 2 do
      if used + c <= q.burst then break end
      used = used - s[at + 1]
      wait = s[at] + q.period - now
    end
    return remaining, #s > 0 and s[#s - 1] + q.period - now or 0, wait
  end
end

local raw = redis.call('GET', KEYS[1])
local read, state = pcall(cmsgpack.unpack, raw or '')
if not read or type(state) ~= 'table' then state = nil end  -- damage must not refuse a key until it expires
local quotas, kept, admitted, set_back = {}, {}, true, false
for at = 1, (#ARGV - 5) / 5 do
  local a = 1 + at * 5
  local q = {
    burst = tonumber(ARGV[a]), period = tonumber(ARGV[a + 1]), part = tonumber(ARGV[a + 2]),
    drain = tonumber(ARGV[a + 3]), step = tonumber(ARGV[a + 4]),
  }
  quotas[at] = q
  local before = state and state[at]
  kept[at] = current(q, before)
  local n = #kept[at]
  if before and n > 0 and #before > 0 and kept[at][n - 1] < before[#before - 1] then set_back = true end
  local _, _, wait = view(q, kept[at], cost)
  if wait > 0 then admitted = false end
end
local counted, answer, last = admitted or count_refused, {admitted and 1 or 0}, 0
for at, q in ipairs(quotas) do
  if counted then kept[at] = take(q, kept[at]) end
  local remaining, reset, wait = view(q, kept[at], cost)
  local _, _, more = view(q, kept[at], min(remaining + 1, q.burst))
  answer[#answer + 1] = remaining
  answer[#answer + 1] = reset
  answer[#answer + 1] = admitted and 0 or wait
  answer[#answer + 1] = more
  last = max(last, reset)
end
-- A time in the future is kept as that of now: else the key would be shut out until the clock is there again.
if counted or set_back then redis.call('SET', KEYS[1], cmsgpack.pack(kept), 'PX', max(1, ceil_of(last, 1000))) end
return answer
