-- What the live holders can do. Needs base.
local function live_loads()             -- (queues, loads) each, flat: what a holder claims from, and what it can do
  local live, found = {}, {}
  for _, holder in ipairs(call('ZRANGEBYSCORE', D .. ':leases', '(' .. fmt('%.17g', now), '+inf')) do live[holder] = true end
  local able = call('HGETALL', D .. ':cap')
  for i = 1, #able, 2 do
    local claims = live[able[i]] and call('HGET', D .. ':asked', able[i])
    if claims then found[#found + 1] = claims; found[#found + 1] = able[i + 1] end
  end
  return found
end
