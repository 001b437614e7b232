-- The plain case of claim, before the code that it does not need. Needs base; arguments as in claim.
local holder, lease, limit, last, bell = ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5]), ARGV[6], ARGV[7]
local out, taken, token, held = { last }, 0, micros, 'SADD :h:' .. holder
-- The keyless jobs of one queue without keys and rates, all in order: the same as pick and hand out, faster.
local function at_once(q, most)
  call('SCARD', q.P .. ':h:' .. holder)      -- one of a wrong type fails here, before anything is changed
  token = max(token, q.s[S_TOKEN] + 1)
  local line, s, written, holds = q.plain, q.s, held_back(q, 'HSET :d'), held_back(q, held)
  local at, given = 0, {}
  local stop = false
  while taken < most and line.n > 0 and not stop and at < most + 5000 do
    local sids = call('LRANGE', line.R, at, at + min(most - taken, 5000) - 1)
    if #sids == 0 then break end
    local bs, ds = call('HMGET', q.P .. ':b', unpack(sids)), call('HMGET', q.P .. ':d', unpack(sids))
    for i = 1, #sids do
      local sid, b, d, flags = sids[i], bs[i], ds[i], nil
      at = at + 1
      if given[sid] then b = nil      -- the id of a removed and re-accepted job is in the list twice
      elseif b and not d then flags = string.byte(b, 28) end
      local order, acc, run_at, prio, klen, xlen, size, _
      if flags and flags % 4 == 0 and flags < 8 and #b >= 35 then
        order, acc, run_at, _, prio, _, klen, xlen = sunpack('>I6I4ddBBBI4', b)
        size = #b - 33 - klen - xlen - (flags >= 4 and 8 or 0)
        if not (size >= 0 and prio <= 2 and run_at >= -1e12 and run_at <= 1e12) then size = nil end     -- see decode
      end
      if size then
        written[#written + 1] = sid
        written[#written + 1] = spack(BECAME, 'R', rank_of(run_at, prio), run_at, 1, 0, token, 1, 0, 0, 0, order, acc, size, flags,
          #holder) .. holder
        holds[#holds + 1] = sid
        given[sid] = true
        taken = taken + 1
        out[3 * taken], out[3 * taken + 1], out[3 * taken + 2] = 1, sid, b
      elseif b then                 -- no plain job: pick handles the rest
        at = at - 1
        stop = true
        break
      end
    end
  end
  if at > 0 then call('LTRIM', line.R, at, -1) end
  line.n, s[S_READY], s[S_RUN] = line.n - taken, s[S_READY] - taken, s[S_RUN] + taken
  s[S_BACK] = s[S_BACK] + taken
  if taken > 0 then s[S_TURN], s[S_TOKEN], last = s[S_BACK], token, q.name end
  return taken == most or (not stop and at < most + 5000)
end
local stream = D .. ':g:' .. ARGV[10]   -- number and token of the last claim that handed out jobs
do
  local had = call('GET', stream)
  if had and tonumber(string.match(had, '^%d+')) >= tonumber(ARGV[11]) then return { last, '' } end
end
call('ZADD', D .. ':leases', now + lease, holder)
if ARGV[9] ~= '' then call('HSET', D .. ':asked', holder, ARGV[9]) end
local only = #KEYS == 2 and open(KEYS[2])
if only and not only.paused and not only.next and only.s[S_KEYED] == 0 and not (only.limits[L_CONC] or only.limits[L_INTERVAL]) and only.plain.z == 0
  and (only.s[S_PARKED] == 0 or ARGV[8] == '') and not call('ZSCORE', D .. ':gone', holder)
  and #call('ZRANGEBYSCORE', D .. ':leases', '-inf', now, 'LIMIT', 0, 1) == 0 then
  local due = call('ZRANGE', only.P .. ':due', 0, 0, 'WITHSCORES')[2]
  if not due or tonumber(due) > now then
    if at_once(only, min(limit, tonumber(ARGV[12]))) and taken > 0 then
      if bell ~= '' and only.waited then pcall(call, 'SREM', only.P .. ':w', bell) end
      out[1], out[2] = last, fmt('%.0f', token)
      call('SET', stream, ARGV[11] .. ' ' .. out[2], 'EX', 3600)    -- else a lost claim could not be undone
      flush()
      return out
    end
  end
end
