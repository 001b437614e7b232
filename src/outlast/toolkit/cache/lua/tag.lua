-- The version of a tag (KEYS[1]: end (double), version), made if there is none. ARGV[1], ARGV[2] as of all scripts; then a
-- new version, and the seconds for which an entry is kept: the version lasts longer. Returns the version.
local now = tonumber(ARGV[1])
if not now then
  local t = redis.call('TIME')
  now = tonumber(t[1]) + tonumber(t[2]) / 1000000
end
local kept, raw = tonumber(ARGV[4]), redis.call('GET', KEYS[1])
local version = ARGV[3]
if raw and #raw > 8 then
  local till = struct.unpack('>d', raw)
  if till > now then version = string.sub(raw, 9) end
  if till > now + kept then return version end
end
-- Not only its end is written: a change of it is what processes with a copy of the entries are told of.
redis.call('SET', KEYS[1], struct.pack('>d', now + 2 * kept) .. version, 'PX', math.ceil(2000 * kept))
return version
