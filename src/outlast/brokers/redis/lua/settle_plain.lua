-- The plain case of settle, before the code that it does not need: running jobs without key and unique key that succeed
-- without result and follow-ups. Needs base, retain; arguments as in settle.
call('DEL', D .. ':full')             -- first: it lets a server at its maxmemory settle running jobs
local batch, lost, slow, at, touched = munpack(ARGV[4]), {}, {}, 0, {}
local heirs                         -- a queue has successors
local others = {}                   -- ids that settle handles: their later settlements must come after
local function succeed(q, token, row)
  local s, done, n, bytes = q.s, q.done or {}, 0, 0
  q.done = done
  sync(q)
  local written, ended_at, watched = held_back(q, 'HSET :d'), held_back(q, 'ZADD :ended'), call('EXISTS', D .. ':watch') == 1
  local kinds, one, holds, by, last_by = row[4], nil, nil, nil, nil
  if type(kinds) == 'string' and kinds ~= '' then one = kinds end
  for from = 5, #row, 5000 do
    local ds = call('HMGET', q.P .. ':d', unpack(row, from, min(from + 4999, #row)))
    for i = 1, #ds do
      local sid, d = row[from + i - 1], ds[i]
      local fast = false
      if d and #d >= 72 and not done[sid] and not others[sid] then
        local st, rank, due, attempt, crashes, tok, f, _, _, _, order, acc, size, flags, hlen, next_at = sunpack(BECAME, d)
        fast = st == 'R' and tok == token and f == 1 and flags % 4 == 0
        if fast then
          done[sid] = true
          n, bytes = n + 1, bytes + size
          if not one then
            local kind = kinds[from + i - 5] or ''
            local b = kind == '' and call('HGET', q.P .. ':b', sid)
            if b and #b >= 33 then kind = kind_in(b, 34) end
            count_end(q, kind, 's', 1)
          end
          written[#written + 1] = sid
          written[#written + 1] = spack(BECAME, 's', rank, due, attempt, crashes, tok, 0, tok, now, 0, order, acc, size, flags, 0)
          ended_at[#ended_at + 1] = end_of(q)
          ended_at[#ended_at + 1] = sid
          by = sub(d, next_at, next_at + hlen - 1)
          if by ~= last_by then holds, last_by = held_back(q, 'SREM :h:' .. by), by end
          holds[#holds + 1] = sid
          if watched then notify[#notify + 1] = { q, sid } end
        end
      end
      if not fast then slow[#slow + 1] = { at, q, sid, token }; others[sid] = true end
      at = at + 1
    end
  end
  if n > 0 then
    if one then count_end(q, one, 's', n) end
    s[S_DEPTH], s[S_BYTES], s[S_RUN], q.freed = s[S_DEPTH] - n, s[S_BYTES] - bytes, s[S_RUN] - n, q.freed + n
    drain(q, n)
  end
end
for _, each in ipairs(batch) do
  local q = open(KEYS[1 + each[1]])
  if q then
    touched[q.P] = q
    heirs = heirs or q.next
  end
  if each[2] then
    slow[#slow + 1] = { at, q or false, each[2], each[3], each }
    others[each[2]] = true
    at = at + 1
  elseif q then succeed(q, each[3], each)
  else
    for _ = 5, #each do lost[#lost + 1] = at; at = at + 1 end
  end
end
if #slow == 0 and not heirs then
  for _, q in pairs(touched) do prune(q, 2 * at + 10) end
  flush()
  return lost
end
