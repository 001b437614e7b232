-- The beginning of each script of sessions. ARGV[1] now: seconds since 1970, '' for this server's clock. KEYS[1] is what
-- the keys of one part begin with; all of a part lie in one slot of a Cluster:
--   KEYS[1]:DIGEST          a session, hash: u user (absent without), c since, s seen, e absolute end, t end without
--                           another use, x '1' when its id was replaced; fields, whose names begin with '.' or '~'
--   KEYS[1]:user:SHA-1      of the user: sorted set of the digests of the user's sessions by the time of the login.
--                           Sessions that have ended may be in it; two users may share it.
local call, base = redis.call, KEYS[1]
local now = tonumber(ARGV[1])
if not now then
  local time = call('TIME')
  now = time[1] + time[2] / 1e6
end

local function text(number) return string.format('%.17g', number) end
local function key_of(id) return base .. ':' .. id end
local function index_of(user) return base .. ':user:' .. redis.sha1hex(user) end
local function is_field(name)
  local first = string.sub(name, 1, 1)
  return first == '.' or first == '~'
end

local function read(id)             -- the session, or that its id was replaced; nil without one, or for a damaged key
  local flat = redis.pcall('HGETALL', key_of(id))
  if #flat == 0 then return nil end
  local record = {}
  for at = 1, #flat, 2 do record[flat[at]] = flat[at + 1] end
  if (tonumber(record.t) or 0) <= now then return nil end
  if not record.x and not (tonumber(record.e) and tonumber(record.c)) then return nil end
  return record
end

local function flat(record)
  local made = {}
  for name, value in pairs(record) do
    made[#made + 1] = name
    made[#made + 1] = value
  end
  return made
end

local function expire(key, at) call('PEXPIRE', key, math.max(1, math.ceil((at - now) * 1000))) end

local function touch(id, record, idle)
  record.s, record.t = text(now), text(math.min(now + idle, tonumber(record.e)))
  call('HSET', key_of(id), 's', record.s, 't', record.t)
  expire(key_of(id), tonumber(record.t))
end

local function remove(id, record)
  call('DEL', key_of(id))
  if record.u then call('ZREM', index_of(record.u), id) end
end

local function sessions_of(user)    -- in the order of their logins; what has ended leaves the index
  local index, found = index_of(user), {}
  for _, id in ipairs(call('ZRANGE', index, 0, -1)) do
    local record = read(id)
    if not record or record.x then
      call('ZREM', index, id)
    elseif record.u == user then
      found[#found + 1] = { id, record }
    end
  end
  return found
end
