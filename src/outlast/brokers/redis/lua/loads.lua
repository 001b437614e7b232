-- What live holders can do, and samples of queues (core/forecast.py). Needs base, live_loads.
-- ARGV[3] 'tell': [4] holder, [5] what it can do, as JSON. Result: (queues, loads) of the live holders, flat;
--           then (name, now, depth, weighed ends, samples or false) of each key; unknown queues are left out.
--         'keep': [4..] (samples as JSON, pace) of each key; pace: "slots ends", '' if it is unknown.
local op, out = ARGV[3], {}
if op == 'tell' then
  call('HSET', D .. ':cap', ARGV[4], ARGV[5])
  out[1] = live_loads()
  for i = 2, #KEYS do
    local q = open(KEYS[i])
    if q then
      out[#out + 1] = { q.name, fmt('%.17g', now), q.s[S_DEPTH], fmt('%.17g', weighed_ends(q)), call('HGET', q.P .. ':c', 'samples') }
    end
  end
else
  for i = 2, #KEYS do
    local at = 2 * i
    if open(KEYS[i]) then call('HSET', KEYS[i] .. ':c', 'samples', ARGV[at], 'pace', ARGV[at + 1]) end
  end
end
return out
