-- ARGV[3] digest [4] idle seconds [5] seconds that a use must add to the end to be noted. Result: the session, flat.
local record = read(ARGV[3])
if not record then return false end
if not record.x then
  local idle = tonumber(ARGV[4])
  if math.min(now + idle, tonumber(record.e)) - tonumber(record.t) >= tonumber(ARGV[5]) then
    touch(ARGV[3], record, idle)
  end
end
return flat(record)
