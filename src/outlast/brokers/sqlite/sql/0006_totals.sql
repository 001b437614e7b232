-- Schema 6 only adds to schema 5, whose code does not know it and may still use the file (store.oldest_code stays 1).

-- Ended jobs by queue, kind and outcome (core.store.totals), counted in the transaction that ends them; those that code of
-- schema 5 ends are not counted. kind: the name of one that is declared for the queue, from its declaration on; 'other' for
-- every kind without a row. No row is ever deleted (but for a repair of queues), and no number falls.
create table total(
  queue int not null, kind text not null,
  succeeded int not null default 0, dead int not null default 0, cancelled int not null default 0,
  expired int not null default 0, shed int not null default 0, replaced int not null default 0,
  primary key(queue, kind)) without rowid;
