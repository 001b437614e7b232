-- ARGV[3] digest. Result: 1, or 0 without a session.
local record = read(ARGV[3])
if not record or record.x then return 0 end
remove(ARGV[3], record)
return 1
