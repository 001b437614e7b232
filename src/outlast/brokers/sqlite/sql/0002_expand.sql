-- Schema 2 only adds to schema 1, whose code does not know it and may still use the file (store.oldest_code stays 1).

-- begun: 1 once a settlement told that a run of the job had started. A job has begun too when its attempt is above 1 or
-- its crashes are above 0; only one that has not begun expires. Code of schema 1 leaves it at 0.
alter table job add column begun int not null default 0;

-- results_kept: the most ended jobs with a result, null for as many as records_kept. Code of schema 1 keeps them all.
alter table queue add column results_kept int;
create index job_result on job(queue, at) where result is not null;

-- file, one row. id: random, of this file alone; a backup gets another. It tells a file from a copy that took its place, and
-- is read without the log (clients/sqlite/log_owner.py): no other row is in its page, which is never written again.
create table file(id text not null);
insert into file values(lower(hex(randomblob(16))));

-- A successor (core.succession) is a job in state 3 that waits for the unique key `uniq_next`. Code of schema 1 neither
-- promotes nor clears it, so the column counts in state 3 alone.
alter table job add column uniq_next text;
create unique index job_next on job(queue, uniq_next) where uniq_next is not null;
