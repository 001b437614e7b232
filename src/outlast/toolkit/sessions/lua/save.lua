-- ARGV[3] digest [4] the digest that replaces it, or '' [5] user who has logged in, or '' [6] idle [7] absolute seconds
-- [8] '1': there is no session yet [9] '1': remove the fields of another user [10] most fields [11] most bytes
-- [12] most sessions of a user [13] seconds for which a replaced id is known. Then for each field: its name; '' or what
-- it must be still, '=' and the value, '-' when absent; the new value, '=' and the value, '-' to remove it.
-- Result: {'saved', session...} {'ended'} {'conflict', session...} {'full'}. See `decide.py`.
local id, new_id, user, idle, absolute = ARGV[3], ARGV[4], ARGV[5], tonumber(ARGV[6]), tonumber(ARGV[7])
local create, clear, grace = ARGV[8] == '1', ARGV[9] == '1', tonumber(ARGV[13])
local record = read(id)
if create then
  record = { c = text(now), e = text(now + absolute) }
elseif not record or record.x then
  return { 'ended' }
end
local old_user = record.u

local fields, count, bytes = {}, 0, 0
for name, value in pairs(record) do
  if is_field(name) and not clear then
    fields[name] = value
    count, bytes = count + 1, bytes + #name + #value
  end
end
local old_count, old_bytes = count, bytes
for at = 14, #ARGV, 3 do
  local name, check = ARGV[at], ARGV[at + 1]
  if check ~= '' and not clear then
    local expected = nil
    if check ~= '-' then expected = string.sub(check, 2) end
    if fields[name] ~= expected then
      local told = flat(record)
      table.insert(told, 1, 'conflict')
      return told
    end
  end
end
for at = 14, #ARGV, 3 do
  local name, value = ARGV[at], ARGV[at + 2]
  if fields[name] then count, bytes = count - 1, bytes - #name - #fields[name] end
  fields[name] = nil
  if value ~= '-' then
    fields[name] = string.sub(value, 2)
    count, bytes = count + 1, bytes + #name + #fields[name]
  end
end
if (count > tonumber(ARGV[10]) or bytes > tonumber(ARGV[11])) and (count > old_count or bytes > old_bytes) then
  return { 'full' }
end

local made = { u = record.u, c = record.c, e = record.e }
if user ~= '' then made.u, made.c, made.e = user, text(now), text(now + absolute) end
for name, value in pairs(fields) do made[name] = value end
local kept = id
if new_id ~= '' then
  kept = new_id
  remove(id, record)
  call('HSET', key_of(id), 'x', '1', 't', text(now + grace))
  expire(key_of(id), now + grace)
end
if new_id ~= '' or create then
  for name, value in pairs(made) do call('HSET', key_of(kept), name, value) end
else
  for at = 14, #ARGV, 3 do
    local name = ARGV[at]
    if fields[name] then call('HSET', key_of(id), name, fields[name]) else call('HDEL', key_of(id), name) end
  end
end
touch(kept, made, idle)

if made.u and (kept ~= id or create) then
  local index = index_of(made.u)
  call('ZADD', index, made.c, kept)
  local left = call('PTTL', index)
  if left < 0 or left / 1000 < tonumber(made.e) - now then expire(index, tonumber(made.e)) end
  if user ~= '' then
    local all = sessions_of(user)
    local over = #all - tonumber(ARGV[12])
    for _, each in ipairs(all) do
      if over <= 0 then break end
      if each[1] ~= kept then
        remove(each[1], each[2])
        over = over - 1
      end
    end
  end
end
local told = flat(made)
table.insert(told, 1, 'saved')
return told
