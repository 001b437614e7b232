-- Keep turns. KEYS: the h of each. ARGV[3..] holder, lease of each. Returns the holders that have none any more. Needs time.
local lost = {}
for i, H in ipairs(KEYS) do
  local holder, lease = ARGV[2 * i + 1], tonumber(ARGV[2 * i + 2])
  local token, ends = held(call('HGET', H, holder))
  if ends <= now then lost[#lost + 1] = holder
  else
    call('HSET', H, holder, token .. fmt(' %.6f', now + lease))
    if call('PTTL', H) < lease * 1000 + SLACK then expire(H, lease) end
  end
end
return lost
