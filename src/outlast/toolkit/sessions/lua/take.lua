-- ARGV[3] digest [4] what the names begin with. Result: the removed fields, flat.
local record, taken = read(ARGV[3]), {}
if not record or record.x then return taken end
for name, value in pairs(record) do
  if string.sub(name, 1, #ARGV[4]) == ARGV[4] then
    call('HDEL', key_of(ARGV[3]), name)
    taken[#taken + 1] = name
    taken[#taken + 1] = value
  end
end
return taken
