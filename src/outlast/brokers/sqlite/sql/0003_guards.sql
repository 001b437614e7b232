-- Schema 3 only adds to schema 2, whose code does not know it and may still use the file (store.oldest_code stays 1).

-- One row for each guard that was ever open; body: core.guards.record.GuardRecord as JSON; its revision detects concurrent
-- changes. Its times are of the host's monotonic clock, void after a boot.
create table guard(name text not null primary key, body text not null) without rowid;
