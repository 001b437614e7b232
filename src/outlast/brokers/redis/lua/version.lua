-- The version of the bindings (bindings.lua); 0 for none, and for one that cannot be read. Needs clock.
local function version()
  local kept = call('HGET', D .. ':bindings', 'version')
  return kept and #kept < 17 and tonumber(string.match(kept, '^%d+$') or '0') or 0
end
