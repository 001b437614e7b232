-- ARGV[3] user [4] '' to list, '1' to end [5] digest of the session that is kept. Result: digest and session of each, or
-- how many were ended.
local told = {}
local ended = 0
for _, each in ipairs(sessions_of(ARGV[3])) do
  if ARGV[4] == '' then
    told[#told + 1] = each[1]
    told[#told + 1] = flat(each[2])
  elseif each[1] ~= ARGV[5] then
    remove(each[1], each[2])
    ended = ended + 1
  end
end
if ARGV[4] == '' then return told end
return ended
