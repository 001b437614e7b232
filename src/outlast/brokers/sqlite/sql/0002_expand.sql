-- Schema 2: columns that code of schema 1 does not know, and need not know: it may go on using the file.

-- begun: 1 once a settlement told that a run of the job had started. A job has begun too when its attempt is above 1 or
-- its crashes are above 0; only one that has not begun expires. Code of schema 1 leaves it at 0.
alter table job add column begun int not null default 0;

-- results_kept: the most ended jobs with a result, null for as many as records_kept. Code of schema 1 keeps them all.
alter table queue add column results_kept int;
create index job_result on job(queue, at) where result is not null;
