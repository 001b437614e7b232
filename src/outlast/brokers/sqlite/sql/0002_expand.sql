-- Schema 2: columns that code of schema 1 does not know, and need not know: it may go on using the file.

-- begun: 1 once a settlement told that a run of the job had started. A job has begun too when its attempt is above 1 or
-- its crashes are above 0; only one that has not begun expires. Code of schema 1 leaves it at 0.
alter table job add column begun int not null default 0;
