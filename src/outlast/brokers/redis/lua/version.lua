-- The version of the bindings (bindings.lua), and whether they were lost with the server's data. Needs clock.

-- 0 for none, and for one that cannot be read.
local function version()
  local kept = call('HGET', D .. ':bindings', 'version')
  return kept and #kept < 17 and tonumber(string.match(kept, '^%d+$') or '0') or 0
end
-- The error REBORN if the server was flushed, else false.
local function reborn()
  return call('GET', D .. ':born') ~= ARGV[2] and redis.error_reply('REBORN the server has lost what this store knew')
end
