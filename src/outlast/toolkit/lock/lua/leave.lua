-- Give up a turn or a place in line, and tell the process of the first that waits. KEYS: h, w, x. ARGV[3] holder, [4] the
-- number of characters that begin the id of each holder of one process, [5] the end of the change's name. Needs time.
local left = call('HDEL', KEYS[1], ARGV[3])
if left == 0 then
  left = call('ZREM', KEYS[2], ARGV[3])
  call('ZREM', KEYS[3], ARGV[3])
end
if left == 1 then
  for _, first in ipairs(call('ZRANGE', KEYS[2], 0, 9)) do
    if (tonumber(call('ZSCORE', KEYS[3], first)) or 0) > now then
      call('PUBLISH', ARGV[2], 'lock:' .. string.sub(first, 1, tonumber(ARGV[4])) .. ARGV[5])
      break
    end
  end
end
return left
