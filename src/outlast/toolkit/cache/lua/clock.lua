-- The beginning of each script of the cache. ARGV[1] now: seconds since 1970, '' for this server's clock. ARGV[2] the
-- channel of changes.
--
-- Entry (KEYS[1]): fresh until, kept until (doubles), then what the client packed: its id is the first 16 bytes of that.
-- Lease (KEYS[2]): end (double), then the id of the computation, 16 bytes.
local call = redis.call
local now = tonumber(ARGV[1])
if not now then
  local t = call('TIME')
  now = tonumber(t[1]) + tonumber(t[2]) / 1000000
end
local function read(key, skip)      -- the value and its first time, nil when it has ended
  local raw = redis.pcall('GET', key)
  if type(raw) == 'table' then      -- an error: a key of another type, which no SET of the cache made
    call('DEL', key)
    return nil
  end
  if not raw or #raw < skip + 16 then return nil end
  local first, second = struct.unpack(skip == 16 and '>dd' or '>d', raw)
  if (skip == 16 and second or first) <= now then return nil end
  return raw, first
end
local function lease_id()           -- of the computation under way, false without one
  local raw = read(KEYS[2], 8)
  return raw and string.sub(raw, 9) or false
end
local function take_lease(id, seconds)
  call('SET', KEYS[2], struct.pack('>d', now + seconds) .. id, 'PX', math.ceil(seconds * 1000))
end
local function keep(fresh, kept, packed)
  call('SET', KEYS[1], struct.pack('>dd', now + fresh, now + kept) .. packed, 'PX', math.ceil(kept * 1000))
  call('DEL', KEYS[2])
  call('PUBLISH', ARGV[2], 'flight')
end
local function shown(led)           -- led, the entry, seconds for which it is fresh, the id of the lease
  local raw, fresh = read(KEYS[1], 16)
  return { led, raw and string.sub(raw, 17) or false, raw and tostring(fresh - now) or false, lease_id() }
end
