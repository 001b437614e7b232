-- Schema 2 only adds to schema 1, whose code may still use the file (store.oldest_code stays 1).

-- file, one row. id: random, of this file alone; a backup gets another. It tells a file from a copy that took its place, and
-- is read without the log (clients/sqlite/log_owner.py): no other row is in its page, which is never written again.
create table file(id text not null);
insert into file values(lower(hex(randomblob(16))));
