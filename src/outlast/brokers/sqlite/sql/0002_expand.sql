-- Schema 2 only adds to schema 1: code of schema 1 runs on the file too.

-- A successor (core.succession) is a job in state 3 that waits for the unique key `uniq_next`. Code of schema 1 neither
-- promotes nor clears it, so the column counts in state 3 alone.
alter table job add column uniq_next text;
create unique index job_next on job(queue, uniq_next) where uniq_next is not null;
