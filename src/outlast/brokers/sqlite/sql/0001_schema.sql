-- Schema 1 of an Outlast file. Run once, in one transaction, on an empty database.
-- Times: *_at, at in wall seconds; lease in seconds of the host's monotonic clock, void after a boot; rank in milliseconds.

-- One row. fence: the number of the last hand-out, used once. oldest_code: the lowest schema number of code that may use
-- this file (a migration first expands the schema and raises this only a release later). purges: the number of purges;
-- erased: how many of them have no content left in free pages.
create table store(
  one integer primary key check (one = 1), fence int not null, oldest_code int not null,
  purges int not null default 0, erased int not null default 0);
insert into store(one, fence, oldest_code) values(1, 0, 1);

-- app: the app that declared the queue, or ''. depth: unfinished jobs; records: ended jobs that count against the cap;
-- dead: dead letters. These counters change only in the transaction that changes the rows, so they cannot drift.
-- drained: ended jobs, decaying (tau 30 s) since drained_at. pruned: where, in job_ended, the rows with a body begin.
-- uniques: 1 once a job had a unique key. limits: the effective settings of core.topology.Queue as JSON, null for the
-- defaults; computed from declared and changes (an operator's). back: the turn of the last key in the ring, 0 while there
-- never was a key; turn: the turn of the keyless jobs; tat: the state of the rate (core.limits.Gcra). bytes: of the
-- arguments of unfinished jobs, null while no bound needs them; shed: the number of jobs ever shed.
create table queue(
  queue integer primary key, name text not null unique, app text not null default '',
  paused int not null default 0, max_depth int,
  record_ttl real not null, records_kept int not null, dead_ttl real not null, id_memory real not null,
  depth int not null default 0, records int not null default 0, dead int not null default 0,
  drained real not null default 0, drained_at real not null default 0,
  pruned real not null default 0, uniques int not null default 0,
  limits text, declared text, changes text, bytes int, shed int not null default 0,
  back int not null default 0, turn int not null default 0, tat int not null default 0);

-- A key of a queue (core.select.KeyState). place: 0 out, 1 in the ring at `turn`; parked until `wake` (nanoseconds) because
-- 2 no slot is free, 3 its rate is used up. Keys are numbered in the order of their first jobs, so that neighbours in the
-- ring are neighbours in job_lane, and a claim of many keys writes to few pages. The tidier deletes rows of keys without
-- jobs. bytes: as in queue.
create table lane(
  lane integer primary key, queue int not null, key text not null, place int not null default 0,
  turn int not null default 0, given int not null default 0, wake int not null default 0, tat int not null default 0,
  bytes int not null default 0);
create unique index lane_key on lane(key, queue);
create index lane_ring on lane(queue, turn) where place = 1;
create index lane_parked on lane(queue, wake, turn) where place > 1;

-- A process that holds jobs. lapsed: its lease ran out and its jobs were made ready. queues: those it claims from, as JSON.
create table holder(
  holder integer primary key, id text not null unique, label text not null,
  boot text not null, lease real not null, lapsed int not null default 0, queues text not null);

-- state: 0 ready, 1 running, 2 scheduled, 3 waiting, 4 parked; ended: 10 succeeded, 11 dead, 12 cancelled, 13 expired.
-- An ended row without a body is a tombstone: it only remembers the id.
-- token: the fence of the last hand-out; negative once its holder released the job; 0: no fence counts any more.
-- at: when a scheduled or parked job is due, or when an ended job is to be pruned. lane: of its key, null without a key.
create table job(
  seq integer primary key, id text not null, queue int not null, state int not null, rank int not null, at real,
  kind text not null, token int not null default 0, holder int, attempt int not null default 1,
  crashes int not null default 0, cancelling int not null default 0, failed int not null default 0,
  enqueued_at real not null, run_at real not null, expires_at real, finished_at real,
  priority int not null default 1, lane int, uniq text, uniq_until real, until_start int,
  reason text, meta text, result text, body text);
create unique index job_id on job(id);
create unique index job_uniq on job(queue, uniq) where uniq is not null;
create index job_ready on job(queue, rank) where state = 0 and lane is null;
create index job_lane on job(lane, state, rank) where lane is not null;
create index job_due on job(queue, state, at) where state in (2, 4);
create index job_parked on job(queue, kind) where state = 4;
create index job_held on job(holder, queue) where state = 1;
create index job_ended on job(queue, at) where state >= 10;
create index job_aside on job(queue) where state = 3;
create index job_dead on job(queue) where state = 11;

-- Errors of failed attempts; notes of running jobs; deliveries that a holder lost, or may lose while it has lapsed.
create table failure(job int not null, nr integer primary key, body text not null);
create index failure_job on failure(job);
create table note(job int not null, name text not null, value text not null, primary key(job, name)) without rowid;
create table lost(holder int not null, job int not null, token int not null, id text not null, queue text not null,
                  primary key(holder, job, token)) without rowid;

-- One row for each schedule; body: core.schedule.ScheduleRecord as JSON; its revision detects concurrent changes.
create table schedule(name text not null primary key, body text not null) without rowid;
