-- Follow-ups: jobs that come with a settlement, or with a tick of a schedule. Needs base, moves, succeed, admit.
-- A follow-up: (queue's key, id, index of its record in ARGV) for a queue of this keyspace: it is accepted. With the
-- queue's name instead it belongs to another keyspace (on a Cluster each queue is one): it is stored here, in the same
-- step, until it is moved there, see relay.
-- Of D  out: set of the queues with stored follow-ups; out:NAME: list of msgpack (id, record, schedule or '', time).
local function queue_of(each)
  return type(each[1]) == 'string' and each[1] or string.match(KEYS[1 + each[1]], '([^:]*)}$')
end
local function follow(each, limits, schedule)       -- the answer of accept; nil for a stored one
  if type(each[1]) ~= 'string' then
    local q = make(KEYS[1 + each[1]], limits)
    q.swept = false                     -- jobs have changed since
    if not schedule then return accept_follow_up(q, each[2], ARGV[each[3]]) end
    return accept(q, each[2], ARGV[each[3]], false, true)
  end
  call('SADD', D .. ':out', each[1])
  call('RPUSH', D .. ':out:' .. each[1], mpack({ each[2], ARGV[each[3]], schedule or '', now }))
end
