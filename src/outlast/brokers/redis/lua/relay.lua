-- Read and remove follow-ups that are stored here for other keyspaces. Needs base; see follow.
-- ARGV[3] 'look': [4] the most of each queue, [5] bytes after which a list ends. Result: (queue, number of those
--         that cannot be read: they are kept in unread:NAME, (id, record, when it was stored or 0) ...) each.
--         'gone': [4] queue, [5..] (id, '' | 'id' | 'unique', existing id) each, in the order of the list: the queue has
--          them now. The first such call removes them, and corrects the counts of a schedule whose tick existed.
local function stored(packed)
  local ok, x = pcall(munpack, packed)
  if ok and type(x) == 'table' and type(x[1]) == 'string' and type(x[2]) == 'string' and type(x[3]) == 'string' then return x end
end
if ARGV[3] == 'look' then
  local out = {}
  for _, name in ipairs(call('SMEMBERS', D .. ':out')) do
    local found, bytes, bad = { name, 0 }, 0, {}
    for at = 0, ARGV[4] - 1 do
      local packed = bytes < tonumber(ARGV[5]) and call('LINDEX', D .. ':out:' .. name, at)
      if not packed then break end
      local x = stored(packed)
      bytes = bytes + #packed
      if x then
        found[#found + 1] = x[1]
        found[#found + 1] = x[2]
        found[#found + 1] = fmt('%.17g', type(x[4]) == 'number' and x[4] or 0)     -- none: stored by earlier code
      else bad[#bad + 1] = packed end
    end
    for _, packed in ipairs(bad) do
      call('LREM', D .. ':out:' .. name, 1, packed)
      call('RPUSH', D .. ':unread:' .. name, packed)
    end
    found[2] = #bad
    out[#out + 1] = found
  end
  return out
end
local name, key = ARGV[4], D .. ':out:' .. ARGV[4]
for i = 5, #ARGV, 3 do
  local first = call('LINDEX', key, 0)
  local x = first and stored(first)
  if x and x[1] == ARGV[i] then
    call('LPOP', key)
    local had = x[3] ~= '' and ARGV[i + 1] ~= '' and call('HGET', D .. ':sched', x[3])
    local sound, s = pcall(munpack, had or '')
    if had and sound and type(s) == 'table' and type(s[3]) == 'number' and type(s[4]) == 'number' then     -- see schedules
      s[3] = s[3] - 1
      if ARGV[i + 1] == 'unique' then s[4] = s[4] + 1 end
      if s[5] == name .. '.' .. x[1] then s[5] = name .. '.' .. ARGV[i + 2] end
      call('HSET', D .. ':sched', x[3], mpack(s))
    end
  end
end
if call('EXISTS', key) == 0 then call('SREM', D .. ':out', name) end
return 1
