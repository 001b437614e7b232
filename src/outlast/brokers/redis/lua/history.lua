-- Samples of queues, the journal, and costs. Needs clock. No script of a job reads or writes these keys.
-- Of D  samples:STEP:QUEUE list of 'slot JSON', newest first; it expires when nothing has been added for twice its time;
--       audit, mark: lists of 'time JSON', newest first;
--       cost:DAY hash kind..\0..tenant -> four doubles: runs, cpu, wall, bytes; charged:DAY hash source -> last number.
-- ARGV[3] 'keep': ARGV[4] number of steps, (step, most) each, then (queue, JSON) each. Result: number of samples added.
--   'samples': ARGV[4] step; ARGV[5] most; ARGV[6..] queues. Result: a list of (slot, JSON)... for each, oldest first.
--   'enter': (list, most, JSON) each.
--   'journal': ARGV[4] list; ARGV[5] limit. Result: (time, JSON) each.
--   'charge': ARGV[4] source; [5] number; [6] most rows; [7] days; then (kind, tenant, runs, cpu, wall, bytes) each.
--             Result: 1, or 0 for a repetition.
--   'forget': ARGV[4] tenant; ARGV[5] day, counted back from today: its costs are added to the tenant other.
--   'costs': ARGV[4] day, counted back from today. Result: the day, and (key, four doubles) each.
local op, out, DAY = ARGV[3], {}, 86400
local function slot_in(item) return tonumber(string.match(item or '', '^(%d+) ')) end
local function whole(x) return fmt('%.0f', x) end
local function row_in(packed)           -- what cannot be read counts as 0
  if packed and #packed == 32 then return { sunpack('>dddd', packed) } end
  return { 0, 0, 0, 0 }
end
local function add_row(key, field, more)
  local row = row_in(call('HGET', key, field))
  call('HSET', key, field, spack('>dddd', row[1] + more[1], row[2] + more[2], row[3] + more[3], row[4] + more[4]))
end

if op == 'keep' then
  local steps, kept = tonumber(ARGV[4]), 0
  for s = 1, steps do
    local step, most = ARGV[3 + 2 * s], tonumber(ARGV[4 + 2 * s])
    local slot = floor(now / tonumber(step))
    for i = 5 + 2 * steps, #ARGV, 2 do
      local key = D .. ':samples:' .. step .. ':' .. ARGV[i]
      local last = slot_in(call('LINDEX', key, 0))
      while last and last > slot do       -- of a clock that was wrong
        call('LPOP', key)
        last = slot_in(call('LINDEX', key, 0))
      end
      if last ~= slot then
        call('LPUSH', key, whole(slot) .. ' ' .. ARGV[i + 1])
        call('LTRIM', key, 0, most - 1)
        call('EXPIRE', key, 2 * most * tonumber(step))
        kept = kept + 1
      end
    end
  end
  return kept
elseif op == 'samples' then
  local slot, most = floor(now / tonumber(ARGV[4])), tonumber(ARGV[5])
  for i = 6, #ARGV do
    local found = {}
    local items = call('LRANGE', D .. ':samples:' .. ARGV[4] .. ':' .. ARGV[i], 0, -1)
    for n = #items, 1, -1 do
      local at = slot_in(items[n])
      if at and at <= slot and at > slot - most then
        found[#found + 1] = whole(at)
        found[#found + 1] = string.match(items[n], ' (.*)')
      end
    end
    out[#out + 1] = found
  end
elseif op == 'enter' then
  for i = 4, #ARGV, 3 do
    local key = D .. ':' .. ARGV[i]
    call('LPUSH', key, fmt('%.6f', now) .. ' ' .. ARGV[i + 2])
    call('LTRIM', key, 0, tonumber(ARGV[i + 1]) - 1)
  end
elseif op == 'journal' then
  for _, item in ipairs(call('LRANGE', D .. ':' .. ARGV[4], 0, tonumber(ARGV[5]) - 1)) do
    local at, body = string.match(item, '^(%d+%.%d+) (.*)')
    out[#out + 1] = at or ''
    out[#out + 1] = body or ''
  end
elseif op == 'charge' then
  local source, number, most, days = ARGV[4], tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
  local today = floor(now / DAY)
  for day = today - 1, today do
    local last = tonumber(call('HGET', D .. ':charged:' .. whole(day), source) or '')
    if last and last >= number then return 0 end
  end
  call('HSET', D .. ':charged:' .. whole(today), source, whole(number))
  call('EXPIRE', D .. ':charged:' .. whole(today), 3 * DAY)
  local key = D .. ':cost:' .. whole(today)
  local rows = call('HLEN', key)
  for i = 8, #ARGV, 6 do
    local field = ARGV[i] .. '\0' .. ARGV[i + 1]
    local had = call('HGET', key, field)
    if not had and rows >= most then
      field = ARGV[i] .. '\0other'
      had = call('HGET', key, field)
    end
    if not had then rows = rows + 1 end
    local more = {}
    for n = 1, 4 do more[n] = tonumber(ARGV[i + 1 + n]) end
    add_row(key, field, more)
  end
  if rows > 0 then call('EXPIRE', key, (days + 1) * DAY) end
  return 1
elseif op == 'forget' then
  local key = D .. ':cost:' .. whole(floor(now / DAY) - tonumber(ARGV[5]))
  for _, field in ipairs(call('HKEYS', key)) do
    local kind, tenant = string.match(field, '^(%Z*)%z(.*)')
    if tenant == ARGV[4] then
      add_row(key, kind .. '\0other', row_in(call('HGET', key, field)))
      call('HDEL', key, field)
    end
  end
elseif op == 'costs' then
  local day = whole(floor(now / DAY) - tonumber(ARGV[4]))
  return { day, call('HGETALL', D .. ':cost:' .. day) }
end
return out
