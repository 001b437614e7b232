-- Every statement of the SQLite store, by name. ?N are the parameters in the order of the line with the name.
-- The frequent ones (insert_*, pick, hand_out, read_out, finish_plain, strip) take a whole batch as one JSON text or array
-- and run in one step: between two steps the thread releases the interpreter's lock, and while the event loop is busy it
-- gets the lock back only milliseconds later, once for every row.

-- name: queue_row (name)
select queue, paused, max_depth, depth, records, records_kept, record_ttl, dead_ttl, id_memory, drained, drained_at,
       pruned, uniques, name, dead, app, limits, back, turn, tat, bytes, shed, coalesce(results_kept, records_kept) from queue where name = ?1

-- name: queue_add (name, record_ttl, records_kept, dead_ttl, id_memory)
insert into queue(name, record_ttl, records_kept, dead_ttl, id_memory) values(?1, ?2, ?3, ?4, ?5) on conflict do nothing

-- With a shorter record_ttl the next jobs to end precede, in job_ended, those that have ended.
-- name: queue_declare (name, record_ttl, records_kept, dead_ttl, id_memory, app, declared, results_kept)
insert into queue(name, record_ttl, records_kept, dead_ttl, id_memory, app, declared, results_kept)
values(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
on conflict(name) do update set record_ttl = ?2, records_kept = ?3, dead_ttl = ?4, id_memory = ?5, declared = ?7,
results_kept = ?8, pruned = case when record_ttl > ?2 then 0 else pruned end, app = coalesce(nullif(?6, ''), app)
where (record_ttl, records_kept, dead_ttl, id_memory) <> (?2, ?3, ?4, ?5) or results_kept is not ?8 or declared is not ?7 or ?6 not in ('', app)

-- name: queue_limits (limits, changes, max_depth, queue)
update queue set limits = ?1, changes = ?2, max_depth = ?3
where queue = ?4 and (limits is not ?1 or changes is not ?2 or max_depth is not ?3)

-- name: queue_declared (queue)
select declared, changes from queue where queue = ?1

-- name: queue_ring (back, turn, tat, queue)
update queue set back = ?1, turn = ?2, tat = ?3 where queue = ?4

-- name: queue_names ()
select name from queue order by name

-- name: queue_count (depth +, records +, dead +, drained, drained_at, bytes +, shed +, queue)
update queue set depth = depth + ?1, records = records + ?2, dead = dead + ?3, drained = ?4, drained_at = ?5,
bytes = bytes + ?6, shed = shed + ?7 where queue = ?8

-- name: lanes_weigh (JSON [[lane, bytes +], ...])
update lane set bytes = bytes + (weight.value ->> 1) from json_each(?1) as weight where lane.lane = weight.value ->> 0

-- name: queue_uniques (queue)
update queue set uniques = 1 where queue = ?1 and uniques = 0

-- name: queue_pause (on, name)
update queue set paused = ?1 where name = ?2 and paused <> ?1

-- name: last_seq ()
select coalesce(max(seq), 0) from job

-- A batch of due jobs, without key, unique key, expiry or meta. Rows whose id is taken are not inserted.
-- name: insert_plain (JSON [[id, queue, rank, kind, enqueued_at, run_at, priority, body], ...])
insert into job(id, queue, state, rank, kind, enqueued_at, run_at, priority, body)
select value ->> 0, value ->> 1, 0, value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 6, value ->> 7
from json_each(?1) where true on conflict do nothing

-- The same for a batch in which some have a key.
-- name: insert_keyed (JSON [[id, queue, rank, kind, enqueued_at, run_at, priority, body, lane], ...])
insert into job(id, queue, state, rank, kind, enqueued_at, run_at, priority, body, lane)
select value ->> 0, value ->> 1, 0, value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 6, value ->> 7, value ->> 8
from json_each(?1) where true on conflict do nothing

-- name: insert_full (JSON [[id, queue, state, rank, at, kind, enqueued_at, run_at, expires_at, priority, lane, uniq, uniq_until, until_start, meta, body], ...])
insert into job(id, queue, state, rank, at, kind, enqueued_at, run_at, expires_at, priority, lane, uniq, uniq_until,
                until_start, meta, body)
select value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 6, value ->> 7, value ->> 8,
       value ->> 9, value ->> 10, value ->> 11, value ->> 12, value ->> 13, value ->> 14, value ->> 15
from json_each(?1) where true on conflict do nothing

-- Bounds. Bytes of unfinished jobs by key: scans all of a queue's jobs, once when a bound in bytes is first declared.
-- name: weights (queue, first ended state)
select lane, sum(octet_length(body)) from job where queue = ?1 and state < ?2 group by lane

-- name: queue_bytes (bytes or null, queue)
update queue set bytes = ?1 where queue = ?2

-- name: lanes_unweighed (queue)
update lane set bytes = 0 where queue = ?1 and bytes <> 0

-- name: weight_of (seq)
select lane, octet_length(body) from job where seq = ?1

-- name: weights_of (array of seq, token)
select lane, octet_length(body) from job where seq in (select value from carray(?1)) and token = ?2 and state in (0, 1, 2)

-- name: lane_depth (lane, count at most)
select count(*) from (select 1 from job where lane = ?1 and state < 10 limit ?2)

-- name: lane_ready (lane, count at most)
select count(*) from (select 1 from job where lane = ?1 and state = 0 limit ?2)

-- name: lane_bytes (lane)
select bytes from lane where lane = ?1

-- The first jobs without a key, or of a key: the ones to shed first.
-- name: keyless_front (queue, how many)
select seq, id, priority, coalesce(at, run_at), octet_length(body) from job
where queue = ?1 and state = 0 and lane is null order by rank, seq limit ?2

-- name: lane_front (lane, how many)
select seq, id, priority, coalesce(at, run_at), octet_length(body) from job
where lane = ?1 and state = 0 order by rank, seq limit ?2

-- Keys that may have many jobs: the first parked ones, and the first of the ring, each with its number of ready jobs.
-- name: lanes_front (queue, lines of each, count at most)
select lane, turn, (select count(*) from (select 1 from job where job.lane = front.lane and state = 0 limit ?3)) from (
select lane, turn from lane where queue = ?1 and place > 1 order by wake, turn limit ?2) as front

-- name: ring_front (queue, lines, count at most)
select lane, turn, (select count(*) from (select 1 from job where job.lane = front.lane and state = 0 limit ?3)) from (
select lane, turn from lane where queue = ?1 and place = 1 order by turn limit ?2) as front

-- name: drop (state, reason, at, finished_at, seq)
update job set state = ?1, reason = ?2, at = ?3, finished_at = ?4, cancelling = 0, token = 0, holder = null, uniq_next = null,
uniq = case when uniq_until is not null and ?1 = 13 then uniq end where seq = ?5

-- Kinds as blobs, here and below: one that is not UTF-8 would fail a plain read, and with it an enqueue or a purge.
-- name: by_id (id)
select seq, token, state, queue, holder, priority, body is null, failed, result is null, cancelling, cast(kind as blob)
from job where id = ?1

-- name: ids_known (JSON [id, ...])
select json_group_array(value) from json_each(?1) where exists(select 1 from job where id = value)

-- name: uniq_holder (queue, uniq)
select id, seq, uniq_until, state, cancelling, cast(kind as blob) from job where queue = ?1 and uniq = ?2

-- name: uniq_free (seq)
update job set uniq = null where seq = ?1

-- Successors: jobs that wait for a unique key, each with the job that holds it (core.succession).
-- name: successors (JSON [queue, ...], now)
select job.seq, job.queue, job.lane, job.expires_at <= ?2, held.seq, held.state, held.uniq_until <= ?2
from json_each(?1) as wanted cross join job on job.queue = wanted.value and job.uniq_next is not null and job.state = 3
left join job as held on held.queue = job.queue and held.uniq = job.uniq_next order by job.seq

-- name: successor (queue, uniq)
select id, seq, cast(kind as blob) from job where queue = ?1 and uniq_next = ?2 and state = 3

-- Code of schema 1 may have left one behind that waits no longer.
-- name: successor_stale (queue, uniq)
update job set uniq_next = null where queue = ?1 and uniq_next = ?2 and state <> 3

-- name: succeeds (uniq, reason, id)
update job set uniq_next = ?1, reason = ?2 where id = ?3

-- name: succeed (seq, now)
update job set state = case when coalesce(at, run_at) <= ?2 then 0 else 2 end, at = coalesce(at, run_at), uniq = uniq_next,
uniq_next = null, reason = null where seq = ?1 returning state

-- name: is_successor (seq)
select state = 3 and uniq_next is not null from job where seq = ?1

-- name: next_key_lapse (queue)
select min(held.uniq_until) from job cross join job as held on held.queue = job.queue and held.uniq = job.uniq_next
where job.queue = ?1 and job.uniq_next is not null and job.state = 3

-- name: successor_count (queue)
select count(*) from job where queue = ?1 and uniq_next is not null and state = 3

-- The jobs that hold one of these unique keys though its time is over (1), or though they are too late to start (0).
-- name: uniq_over (JSON [[queue, uniq], ...], -, now)
select job.seq, queue.name, job.uniq_until is not null
from json_each(?1) as wanted cross join job on job.queue = wanted.value ->> 0 and job.uniq = wanted.value ->> 1
cross join queue using (queue)
where job.uniq_until <= ?3 or (job.uniq_until is null and job.expires_at <= ?3 and job.state < 10 and @state = 13)

-- name: holder_row (id)
select holder, lapsed from holder where id = ?1

-- name: holder_claims (id, label, boot, lease, queues)
insert into holder(id, label, boot, lease, queues) values(?1, ?2, ?3, ?4, ?5)
on conflict(id) do update set boot = ?3, lease = ?4, queues = ?5, lapsed = 0 returning holder

-- name: holder_renew (lease, boot, holder)
update holder set lease = ?1, boot = ?2, lapsed = 0 where holder = ?3

-- name: holder_gone (holder)
delete from holder where holder = ?1

-- Deletes holders that lapsed an hour ago and hold no job.
-- name: holders_forget (boot, monotonic - 3600)
delete from holder where lapsed = 1 and (boot <> ?1 or lease < ?2)
and not exists(select 1 from job where job.holder = holder.holder and job.state = 1)

-- name: lost_forget ()
delete from lost where holder not in (select holder from holder)

-- name: lapsing (boot, monotonic)
select holder from holder where lapsed = 0 and (boot <> ?1 or lease <= ?2) order by id

-- The next lease of another holder to run out.
-- name: next_lapse (id)
select min(lease) from holder where lapsed = 0 and id <> ?1
and exists(select 1 from job where job.holder = holder.holder and job.state = 1)

-- name: live_holders (boot, monotonic)
select queues from holder where lapsed = 0 and boot = ?1 and lease > ?2

-- What live holders can do.
-- name: live_loads (boot, monotonic)
select queues, loads from holder where lapsed = 0 and boot = ?1 and lease > ?2 and loads is not null

-- The queues of live holders that tell nothing, as older code.
-- name: live_untold (boot, monotonic)
select queues from holder where lapsed = 0 and boot = ?1 and lease > ?2 and loads is null

-- name: holder_loads (loads, holder)
update holder set loads = ?1 where holder = ?2

-- name: queue_samples (queue)
select samples from queue where queue = ?1

-- name: queue_sampled (samples, queue)
update queue set samples = ?1 where queue = ?2

-- name: lapse_note (holder)
insert or ignore into lost(holder, job, token, id, queue)
select job.holder, job.seq, job.token, job.id, queue.name from job join queue using (queue)
where job.holder = ?1 and job.state = 1

-- name: lapse_mark (holder)
update holder set lapsed = 1 where holder = ?1

-- Held jobs that are to be cancelled: they end instead of running again.
-- name: held_cancelling (holder)
select job.seq, job.id, queue.name, job.token from job join queue using (queue)
where job.holder = ?1 and job.state = 1 and job.cancelling = 1

-- The queues and keys of a holder's jobs, in the order of acceptance.
-- name: held_lanes (holder)
select queue.name, job.lane, job.cancelling from job join queue using (queue)
where job.holder = ?1 and job.state = 1 and job.lane is not null order by job.seq

-- name: held_ready (crashes +, holder, holder from now on)
update job set state = 0, crashes = crashes + ?1, holder = ?3 where holder = ?2 and state = 1

-- A dead holder cannot take back the jobs that it lost before.
-- name: lapsed_part (holder)
update job set holder = null where seq in (select job from lost where lost.holder = ?1) and job.holder = ?1 and state in (0, 2)

-- name: lost_of (holder)
select job, token, id, queue from lost where holder = ?1 order by job, token

-- name: lost_clear (holder)
delete from lost where holder = ?1

-- name: lost_drop (holder, seq, token)
delete from lost where holder = ?1 and job = ?2 and token = ?3

-- name: retaking (holder, seq, token)
select queue.name, job.lane from job join queue using (queue)
where job.seq = ?2 and job.token = ?3 and job.state in (0, 2) and job.holder = ?1

-- No slot is free any more: the job stays ready, and the fence no longer counts.
-- name: take_away (seq)
update job set token = 0, holder = null where seq = ?1

-- name: retake (seq)
update job set state = 1, crashes = max(crashes - 1, 0) where seq = ?1

-- Is a job without a key ready, or any job due?
-- name: probe (queue, now)
select exists(select 1 from job where queue = ?1 and state = 0 and lane is null)
    or exists(select 1 from job where queue = ?1 and state in (2, 4) and at <= ?2)

-- name: next_due (queue)
select min(at) from (select (select min(at) from job where queue = ?1 and state in (2, 4) and state = 2) as at
union all select (select min(at) from job where queue = ?1 and state in (2, 4) and state = 4))

-- Is a key in the ring, or a parked key due?
-- name: lane_probe (queue, now in nanoseconds)
select exists(select 1 from lane where queue = ?1 and place = 1)
    or exists(select 1 from lane where queue = ?1 and place > 1 and wake <= ?2)

-- name: lane_next (queue)
select min(wake) from lane where queue = ?1 and place > 1

-- The keys of jobs that became due, first due first.
-- name: due_lanes (queue, now)
select json_group_array(lane) from (
select lane from job where queue = ?1 and state in (2, 4) and at <= ?2 and lane is not null order by at, seq)

-- A due job keeps its rank, so it keeps its age.
-- name: promote (queue, now)
update job set state = 0 where queue = ?1 and state in (2, 4) and at <= ?2

-- Is a parked job of one of these kinds? The first condition is cheap and mostly false.
-- name: parked_probe (queue, JSON [kind, ...])
select exists(select 1 from job where queue = ?1 and state = 4)
   and exists(select 1 from json_each(?2) as known cross join job on queue = ?1 and state = 4 and kind = known.value)

-- name: unpark (queue, JSON [kind, ...], now, limit)
update job set state = 0, at = ?3 where seq in (
select seq from json_each(?2) as known cross join job on queue = ?1 and state = 4 and kind = known.value limit ?4)

-- name: unpark_lanes (queue, JSON [kind, ...], limit)
select json_group_array(lane) from (
select seq, lane from json_each(?2) as known cross join job on queue = ?1 and state = 4 and kind = known.value limit ?3)
where lane is not null

-- name: ready_count (queue, at most)
select count(*) from (select 1 from job where queue = ?1 and state = 0 and lane is null limit ?2)

-- name: pick (queue, limit)
select json_group_array(seq) from (
select seq from job where queue = ?1 and state = 0 and lane is null order by rank, seq limit ?2)

-- Keys. lanes_join adds those of the keys that are in `place` to the back of the ring, in the order of the input.
-- name: lanes_find (JSON [[queue, key], ...])
select json_group_array(json_array(lane.lane, lane.place))
from json_each(?1) as wanted left join lane on lane.key = wanted.value ->> 1 and lane.queue = wanted.value ->> 0

-- name: lanes_add (JSON [[queue, key], ...])
insert into lane(queue, key) select value ->> 0, value ->> 1 from json_each(?1) where true on conflict do nothing

-- name: lanes_join (JSON [lane, ...], back, place)
update lane set place = 1, given = 0, turn = ?2 + 1 + waiting.key
from json_each(?1) as waiting where lane.lane = waiting.value and lane.place = ?3

-- name: lanes_wake (queue, now in nanoseconds, back)
update lane set place = 1, given = 0, turn = woken.turn
from (select lane, ?3 + row_number() over (order by wake, turn) as turn from lane
      where queue = ?1 and place > 1 and wake <= ?2) as woken
where lane.lane = woken.lane

-- The limits have changed: every parked key joins the ring.
-- name: lanes_unpark (queue, back)
update lane set place = 1, given = 0, turn = woken.turn
from (select lane, ?2 + row_number() over (order by turn) as turn from lane where queue = ?1 and place > 1) as woken
where lane.lane = woken.lane

-- name: lanes_unrated (queue)
update lane set tat = 0 where queue = ?1 and tat <> 0

-- The first keys of the ring behind a turn, each with its first jobs and, on request, the number of its running jobs.
-- name: ring (queue, turn, lanes, heads, 1 to count)
select json_group_array(json_array(key,
  json((select json_group_array(seq) from (
    select seq from job where job.lane = front.lane and state = 0 order by rank, seq limit ?4))),
  case ?5 when 1 then (select count(*) from job where job.lane = front.lane and state = 1) else 0 end,
  tat, given, turn, 'ring', 0, lane))
from (select lane, key, turn, given, tat from lane where queue = ?1 and place = 1 and turn > ?2 order by turn limit ?3) as front

-- The next jobs of keys, behind a known job of each.
-- name: heads (JSON [[lane, seq], ...], how many)
select json_group_array(json((select json_group_array(seq) from (
  select seq from job where job.lane = wanted.value ->> 0 and state = 0
  and (rank, seq) > ((select known.rank from job as known where known.seq = wanted.value ->> 1), wanted.value ->> 1)
  order by rank, seq limit ?2))))
from json_each(?1) as wanted

-- name: lanes_gone (array of lanes)
update lane set place = 0, given = 0 where lane in (select value from carray(?1))

-- name: lanes_turned (JSON [[lane, turn], ...])
update lane set turn = turned.value ->> 1, given = 0 from json_each(?1) as turned where lane.lane = turned.value ->> 0

-- name: lanes_moved (JSON [[lane, place, turn, given, wake, tat], ...])
update lane set place = moved.value ->> 1, turn = moved.value ->> 2, given = moved.value ->> 3, wake = moved.value ->> 4,
tat = moved.value ->> 5 from json_each(?1) as moved where lane.lane = moved.value ->> 0

-- name: lane_running (lane)
select count(*) from job where lane = ?1 and state = 1

-- The keys of the jobs that run with these fences, in the order of the input.
-- name: settled_lanes (JSON [[seq, token], ...])
select json_group_array(json_array(job.queue, job.lane)) from json_each(?1) as fence
cross join job on job.seq = fence.value ->> 0 and token = fence.value ->> 1 and state = 1 where lane is not null

-- A purge by key deletes the key too, with its turn and its rate, unless it has jobs left. lane_empty, for other purges,
-- deletes a key only when it is out of the ring and has no rate to remember either.
-- name: lanes_purged (key, name of the queue or null)
delete from lane where key = ?1 and (?2 is null or queue = (select queue from queue where name = ?2)) and not exists(select 1 from job where job.lane = lane.lane)

-- name: lane_empty (lane, now in nanoseconds)
delete from lane where lane = ?1 and place = 0 and tat <= ?2 and not exists(select 1 from job where job.lane = lane.lane)

-- The end of the next chunk of `how many` jobs.
-- name: jobs_next (seq, how many)
select max(seq) from (select seq from job where seq > ?1 order by seq limit ?2)

-- Deletes keys without jobs and without a rate to remember, in chunks of `how many` keys.
-- name: lanes_next (lane, how many)
select max(lane) from (select lane from lane where lane > ?1 order by lane limit ?2)

-- name: lanes_over (lane, up to, now in nanoseconds)
select exists(select 1 from lane where lane > ?1 and lane <= ?2 and place = 0 and tat <= ?3
and not exists(select 1 from job where job.lane = lane.lane))

-- name: lanes_forget (lane, up to, now in nanoseconds)
delete from lane where lane > ?1 and lane <= ?2 and place = 0 and tat <= ?3
and not exists(select 1 from job where job.lane = lane.lane)

-- name: lane_of (seq)
select lane from job where seq = ?1

-- name: next_fence ()
update store set fence = fence + 1 returning fence

-- name: hand_out (token, holder, JSON [seq, ...])
update job set state = 1, reason = null, token = ?1, holder = ?2 where seq in (select value from json_each(?3))

-- name: free_at_start (JSON [seq, ...])
update job set uniq = null where seq in (select value from json_each(?1)) and until_start = 1 and uniq is not null

-- name: read_out (JSON [seq, ...])
select json_group_array(json_array(job.seq, job.id, kind, attempt, crashes, begun, enqueued_at, run_at, expires_at, priority,
                                   null, meta, body))
from json_each(?1) as picked cross join job on job.seq = picked.value

-- name: read_out_keys (JSON [seq, ...])
select json_group_array(json_array(job.seq, job.id, kind, attempt, crashes, begun, enqueued_at, run_at, expires_at, priority,
                                   lane.key, meta, body))
from json_each(?1) as picked cross join job on job.seq = picked.value left join lane on lane.lane = job.lane

-- A fence counts while its job runs, or has lapsed and waits: then its row is ready, or was rescheduled by an operator,
-- and still has the token. A parked job never has: its holder gave it back.
-- name: finish_plain (array of seq, token, at, finished_at)
update job set state = 10, at = ?3, finished_at = ?4, cancelling = 0
where seq in (select value from carray(?1)) and token = ?2 and state in (0, 1, 2)

-- name: free_ended (array of seq, token)
update job set uniq = null
where seq in (select value from carray(?1)) and token = ?2 and state >= 10 and uniq is not null
and (uniq_until is null or state = 12)

-- name: finish (state, at, finished_at, reason, result, seq, token)
update job set state = ?1, at = ?2, finished_at = ?3, reason = ?4, result = ?5, cancelling = 0
where seq = ?6 and token = ?7 and state in (0, 1, 2) returning cast(kind as blob)

-- Totals (core.store.totals). A value that is no number counts as 0.
-- name: totals_declare (queue, JSON [kind, ...], most)
insert into total(queue, kind) select ?1, value from json_each(?2)
where key < max(0, ?3 - (select count(*) from total where queue = ?1)) on conflict do nothing

-- name: totals_missing (queue, JSON [kind, ...])
select json_group_array(value) from json_each(?2)
where not exists(select 1 from total where total.queue = ?1 and total.kind = value)

-- name: totals_add (succeeded +, dead +, cancelled +, expired +, shed +, replaced +, queue, kind)
update total set
succeeded = max(0, cast(succeeded as int)) + ?1, dead = max(0, cast(dead as int)) + ?2,
cancelled = max(0, cast(cancelled as int)) + ?3, expired = max(0, cast(expired as int)) + ?4,
shed = max(0, cast(shed as int)) + ?5, replaced = max(0, cast(replaced as int)) + ?6
where queue = ?7 and kind = ?8

-- name: totals_other (queue, kind)
insert into total(queue, kind) values(?1, ?2) on conflict do nothing

-- name: totals ()
select queue.name, cast(kind as blob), cast(succeeded as int), cast(total.dead as int), cast(cancelled as int), cast(expired as int),
       cast(total.shed as int), cast(replaced as int) from total cross join queue on queue.queue = total.queue

-- Of a queue whose jobs are of another one now, because its name was damaged.
-- name: totals_of (queue)
select cast(kind as blob), cast(succeeded as int), cast(dead as int), cast(cancelled as int), cast(expired as int),
       cast(shed as int), cast(replaced as int) from total where queue = ?1

-- name: totals_delete (queue)
delete from total where queue = ?1

-- Kinds as hexadecimal text: one that is not UTF-8 must not fail a settlement.
-- name: kinds_ending (array of seq, token)
select json_group_array(json_array(hex(kind), jobs)) from (
select kind, count(*) as jobs from job where seq in (select value from carray(?1)) and token = ?2 and state in (0, 1, 2) group by kind)

-- name: kind_of (seq)
select cast(kind as blob) from job where seq = ?1

-- name: retry (state, at, attempt, crashes, rank, seq, token, 1 if it has begun)
update job set state = ?1, at = ?2, attempt = ?3, crashes = ?4, rank = ?5, begun = max(begun, ?8), token = -token, holder = null
where seq = ?6 and token = ?7 and state in (0, 1, 2)

-- A late release (the row is ready again, and still has its holder) shows that the holder had not crashed.
-- name: give_back (state, at or null to leave it, seq, token, 1 if it has begun, why it waits or null)
update job set state = ?1, at = coalesce(?2, at), begun = max(begun, ?5), reason = ?6, token = -token, holder = null,
crashes = case when state <> 1 and holder is not null then max(crashes - 1, 0) else crashes end
where seq = ?3 and token = ?4 and state in (0, 1, 2)

-- name: fence_row (seq)
select token, priority, cancelling, state, lane from job where seq = ?1

-- name: failure_add (seq, JSON)
insert into failure(job, body) values(?1, ?2)

-- name: failure_mark (seq)
update job set failed = failed + 1 where seq = ?1

-- name: failure_trim (seq, kept)
delete from failure where job = ?1 and nr not in (select nr from failure where job = ?1 order by nr desc limit ?2)

-- name: note_put (seq, name, value, token)
insert into note(job, name, value) select seq, ?2, ?3 from job where seq = ?1 and token = ?4 and state in (0, 1, 2)
on conflict do update set value = excluded.value

-- name: note_mark (seq)
update job set failed = 1 where seq = ?1 and failed = 0

-- name: usage_keep (seq, JSON)
insert into note(job, name, value) values(?1, 'usage', ?2) on conflict do update set value = excluded.value

-- name: effects_keep (seq, JSON)
insert into note(job, name, value) values(?1, 'once', ?2) on conflict do update set value = excluded.value

-- name: usage_drop (seq)
delete from note where job = ?1 and name = 'usage'

-- Retention. The rows to strip are the oldest ended ones that count against the cap; the tombstone keeps its position in
-- job_ended, so stripping rewrites only the row.
-- Three lists: all these rows, those with rows in other tables, and those whose bodies leave half-empty pages (see merge).
-- name: strip_next (queue, pruned, how many)
select max(at), json_group_array(seq), json_group_array(seq) filter (where failed > 0),
       json_group_array(seq) filter (where octet_length(body) >= 400 and seq % 2 = 0)
from (select seq, at, failed, body from job where queue = ?1 and state >= 10 and at >= ?2 and state <> 11
      and result is null and body is not null order by at limit ?3)

-- name: strip (JSON [seq, ...])
update job set body = null, meta = null, reason = null, lane = null where seq in (select value from json_each(?1))

-- SQLite joins half-empty pages when a row is inserted or deleted, not when one gets shorter: without this statement a
-- tombstone uses the space that its body used. Every second row is enough.
-- name: merge (JSON [seq, ...])
update job set seq = seq where seq in (select value from json_each(?1))

-- name: pruned (at, stripped, queue)
update queue set pruned = ?1, records = records - ?2 where queue = ?3

-- name: any_over (queue, now, results kept)
select exists(select 1 from job where queue = ?1 and state >= 10 and at <= ?2)
    or (select count(*) from job where queue = ?1 and result is not null) > ?3

-- name: over (queue, now, limit)
select seq, state, result is null, body is null, enqueued_at, failed, uniq_until,
       coalesce(octet_length(body), 0) + coalesce(octet_length(result), 0) >= 400 and seq % 2 = 0
from job where queue = ?1 and state >= 10 and at <= ?2 order by at limit ?3

-- The ended jobs with a result above their bound, those whose time ends first.
-- name: results_count (queue)
select count(*) from job where queue = ?1 and result is not null

-- name: results_over (queue, limit)
select seq, state, result is null, body is null, enqueued_at, failed, uniq_until,
       coalesce(octet_length(body), 0) + coalesce(octet_length(result), 0) >= 400 and seq % 2 = 0
from job where queue = ?1 and result is not null order by at limit ?2

-- name: to_tombstone (at, seq)
update job set at = ?1, body = null, meta = null, reason = null, lane = null, result = null, failed = 0 where seq = ?2

-- name: job_delete (seq)
delete from job where seq = ?1

-- name: extras_delete (JSON [seq, ...])
delete from failure where job in (select value from json_each(?1))

-- name: notes_delete (JSON [seq, ...])
delete from note where job in (select value from json_each(?1))

-- Commands.
-- A cancelled job frees even a key for a time; a moved one does its work elsewhere.
-- name: cancel_waiting (at, finished_at, seq, 1 if moved)
update job set state = 12, at = ?1, finished_at = ?2, reason = 'cancelled', cancelling = 0, token = 0, holder = null, uniq_next = null,
uniq = case when uniq_until is not null and ?4 = 1 then uniq end where seq = ?3

-- name: cancel_running (seq)
update job set cancelling = 1 where seq = ?1

-- name: redrive (rank, now, unique key or null, seq)
update job set state = 0, at = ?2, run_at = ?2, rank = ?1, uniq = coalesce(?3, uniq), attempt = 1, crashes = 0, begun = 0, token = 0, holder = null,
cancelling = 0, reason = null, finished_at = null, expires_at = null, result = null where seq = ?4

-- name: edit (state, at, run_at, rank, priority, body, seq)
update job set state = ?1, at = ?2, run_at = ?3, rank = ?4, priority = ?5, body = ?6 where seq = ?7

-- name: run_now (now, rank at most, seq)
update job set state = 0, at = ?1, rank = min(rank, ?2) where seq = ?3

-- Jobs that move to another store, or from one. The fence of an earlier holder no longer counts.
-- name: hold (why, seq)
update job set state = 3, reason = ?1, token = 0, holder = null, uniq_next = null where seq = ?2

-- name: held_why (seq)
select reason from job where seq = ?1

-- name: adopt (at, run_at, rank, attempt, crashes, why, seq, begun)
update job set state = 3, at = ?1, run_at = ?2, rank = ?3, attempt = ?4, crashes = ?5, reason = ?6, begun = ?8 where seq = ?7

-- name: unhold (seq, now)
update job set state = case when coalesce(at, run_at) <= ?2 then 0 else 2 end, at = coalesce(at, run_at), reason = null
where seq = ?1

-- name: moved (token, seq)
update job set reason = 'moved', token = ?1 where seq = ?2

-- name: purge_count ()
update store set purges = purges + 1

-- name: to_erase ()
select purges from store where purges > erased

-- name: erased (purges)
update store set erased = max(erased, ?1)

-- name: purge_key (key, JSON [state, ...], now, name of the queue or null)
select seq from job where lane in (
select lane from lane where key = ?1 and (?4 is null or queue = (select queue from queue where name = ?4)))
and body is not null and @state in (select value from json_each(?2))

-- name: purge_queue (name, JSON [state, ...], now, after, up to, limit)
select seq from job where queue = (select queue from queue where name = ?1) and seq > ?4 and seq <= ?5
and body is not null and @state in (select value from json_each(?2)) order by seq limit ?6

-- Another job may have the number by now.
-- name: purge_still (JSON [seq, ...], JSON [state, ...], now, key or null)
select seq from json_each(?1) as chosen cross join job on job.seq = chosen.value
where body is not null and @state in (select value from json_each(?2))
and (?4 is null or exists(select 1 from lane where lane.lane = job.lane and key = ?4))

-- name: purge_to_tombstone (at, seq)
update job set state = 12, at = ?1, body = null, meta = null, reason = null, lane = null, result = null, failed = 0,
uniq = null, uniq_next = null, token = 0, holder = null, cancelling = 0 where seq = ?2

-- name: purge_row (seq, -, now)
select job.state, job.queue, job.result is null, job.body is null, job.holder, job.token, job.id, queue.name, enqueued_at, lane,
       @state = 13, cast(kind as blob) from job join queue using (queue) where seq = ?1

-- name: lost_add (holder, seq, token, id, queue)
insert or ignore into lost(holder, job, token, id, queue) values(?1, ?2, ?3, ?4, ?5)

-- Records.
-- The job that the id of a follow-up leads to: see link_add.
-- name: linked (id)
select reason from job where id = ?1 and body is null and reason is not null

-- A follow-up whose unique key another job holds: a tombstone that keeps the id of that job as its reason.
-- name: link_add (id, queue, at, kind, enqueued_at, finished_at, id of the other job)
insert into job(id, queue, state, rank, at, kind, enqueued_at, run_at, finished_at, reason)
values(?1, ?2, 12, 0, ?3, ?4, ?5, ?5, ?6, ?7) on conflict do nothing

-- name: ended (JSON [id, ...], now)
select value from json_each(?1) left join job on job.id = value where job.body is null or job.state >= 10
or (job.state in (0, 2, 4) and @not_begun and job.expires_at <= ?2)

-- name: running_count (queue)
select count(*) from holder cross join job on job.holder = holder.holder and job.queue = ?1 and job.state = 1

-- name: aside_count (queue)
select count(*) from job where queue = ?1 and state = 3

-- name: scheduled_count (queue, state, now)
select count(*) from job where queue = ?1 and state in (2, 4) and state = ?2 and at > ?3

-- The time since which the first ready job without a key, or a due job that no claim has made ready yet, waits.
-- name: first_ready (queue, now)
select min(at) from (
select (select coalesce(at, run_at) from job where queue = ?1 and state = 0 and lane is null order by rank, seq limit 1) as at
union all select (select min(at) from job where queue = ?1 and state in (2, 4) and state = 2 and at <= ?2)
union all select (select min(at) from job where queue = ?1 and state in (2, 4) and state = 4 and at <= ?2))

-- The same for keys: the first 200 in the ring and the first 200 that are parked.
-- name: first_of_lanes (queue)
select coalesce(at, run_at) from (
select job.rank, job.seq, job.at, job.run_at from (
  select * from (select lane from lane where queue = ?1 and place = 1 order by turn limit 200) union all
  select * from (select lane from lane where queue = ?1 and place > 1 order by wake limit 200)) as front
cross join job on job.seq = (
  select seq from job where job.lane = front.lane and state = 0 order by rank, seq limit 1)) order by rank, seq limit 1

-- name: lanes_waiting (queue)
select (select count(*) from lane where queue = ?1 and place = 1), (select count(*) from lane where queue = ?1 and place > 1)

-- name: failures (seq)
select body from failure where job = ?1 order by nr

-- name: notes (seq)
select name, value from note where job = ?1 and name in ('progress', 'usage', 'once')

-- A job that cannot be read: it was just handed out.
-- name: set_aside (at, finished_at, reason, seq)
update job set state = 11, at = ?1, finished_at = ?2, reason = ?3, cancelling = 0, token = 0, holder = null,
failed = max(failed, 1), uniq = case when uniq_until is not null then uniq end, body = coalesce(body, '') where seq = ?4

-- For the doctor. Holders whose jobs still count as running, though their lease has lapsed: no claim has noticed yet.
-- name: stale_holders (boot, monotonic)
select holder.label, holder.id, count(*) from job join holder using (holder)
where job.state = 1 and (holder.boot <> ?1 or holder.lease <= ?2) group by 1, 2

-- The latest acceptance of the newest job and of those that wait for their time.
-- name: newest ()
select max(at) from (select (select enqueued_at from job order by seq desc limit 1) as at
union all select (select max(enqueued_at) from queue cross join job using (queue) where state in (2, 4)))

-- name: unfinished_kinds ()
select queue.name, job.kind, count(*) from job join queue using (queue) where job.state < 10 group by 1, 2 order by 1, 2

-- Schedules: few rows, each read and written as a whole.
-- name: schedules ()
select name, body from schedule order by name

-- name: schedule (name)
select name, body from schedule where name = ?1

-- name: schedule_put (name, JSON)
insert into schedule(name, body) values(?1, ?2) on conflict(name) do update set body = ?2

-- name: schedule_delete (name)
delete from schedule where name = ?1

-- Guards: few rows, each read and written as a whole.
-- name: guards ()
select name, body from guard order by name

-- name: guard (name)
select name, body from guard where name = ?1

-- name: guard_put (name, JSON)
insert into guard(name, body) values(?1, ?2) on conflict(name) do update set body = ?2

-- Exchanges and bindings: each row is read and written as a whole; the version tells that one has changed.
-- name: exchanges ()
select name, body from exchange

-- name: bindings ()
select name, body from binding

-- name: bindings_version ()
select cast(bindings as int) from store

-- name: bindings_changed ()
update store set bindings = cast(bindings as int) + 1

-- name: exchange_put (name, JSON)
insert into exchange(name, body) values(?1, ?2) on conflict(name) do update set body = ?2

-- name: binding_put (name, JSON)
insert into binding(name, body) values(?1, ?2) on conflict(name) do update set body = ?2

-- name: exchange_delete (name)
delete from exchange where name = ?1

-- name: binding_delete (name)
delete from binding where name = ?1

-- A copy gets an id of its own, and no fence of it is ever one that the first file hands out after the copy.
-- name: renew_id ()
update file set id = lower(hex(randomblob(16)))

-- name: renew_fence (lowest)
update store set fence = max(fence, ?1) + 4294967296

-- Samples of queues: the slots of a step are numbered by time.
-- name: sample_add (step, slot, queue, JSON)
insert or ignore into sample(step, slot, queue, body) values(?1, ?2, ?3, ?4)

-- name: samples_forget (step, first slot to keep, present slot)
delete from sample where step = ?1 and (slot < ?2 or slot > ?3)

-- name: samples (step, first slot, last slot)
select slot, queue, body from sample where step = ?1 and slot between ?2 and ?3 order by slot, queue

-- name: samples_present (step, slot)
select queue from sample where step = ?1 and slot = ?2

-- The journal.
-- name: entry_add (sort, JSON)
insert into journal(sort, body) values(?1, ?2)

-- name: entries_forget (sort, entries to keep)
delete from journal where sort = ?1 and seq <= (select seq from journal where sort = ?1 order by seq desc limit 1 offset ?2)

-- name: entries (sort, limit)
select seq, body from journal where sort = ?1 order by seq desc limit ?2

-- Costs by day, kind and tenant; and which calls have added to them.
-- name: cost_number (first day, source)
select max(number) from cost_source where day >= ?1 and source = ?2

-- name: cost_numbered (day, source, number)
insert into cost_source(day, source, number) values(?1, ?2, ?3) on conflict do update set number = ?3

-- name: costs_count (day)
select count(*) from cost where day = ?1

-- name: cost_more (day, kind, tenant, runs +, cpu +, wall +, bytes +)
update cost set runs = runs + ?4, cpu = cpu + ?5, wall = wall + ?6, bytes = bytes + ?7
where day = ?1 and kind = ?2 and tenant = ?3

-- name: cost_add (day, kind, tenant, runs, cpu, wall, bytes)
insert into cost(day, kind, tenant, runs, cpu, wall, bytes) values(?1, ?2, ?3, ?4, ?5, ?6, ?7)

-- name: costs_forget (first day to keep, today)
delete from cost where day < ?1 or day > ?2

-- name: cost_sources_forget (first day to keep, today)
delete from cost_source where day < ?1 or day > ?2

-- name: costs_join (tenant, other)
insert into cost(day, kind, tenant, runs, cpu, wall, bytes)
select day, kind, ?2, runs, cpu, wall, bytes from cost where tenant = ?1
on conflict do update set runs = runs + excluded.runs, cpu = cpu + excluded.cpu, wall = wall + excluded.wall,
bytes = bytes + excluded.bytes

-- name: costs_purge (tenant)
delete from cost where tenant = ?1

-- name: costs (first day, last day)
select day, kind, tenant, runs, cpu, wall, bytes from cost where day between ?1 and ?2 order by day, kind, tenant
