-- Schema 7 only adds to schema 6, whose code does not know it and may still use the file (store.oldest_code stays 1).

-- Samples: one row for each step (its seconds), slot (time / step) and queue; body: core.history.Sample as JSON.
create table sample(step int not null, slot int not null, queue text not null, body text not null,
  primary key(step, slot, queue)) without rowid;

-- The journal: body: core.history.Entry as JSON; sort: that of the entry. seq grows, and is not used again.
create table journal(seq integer primary key autoincrement, sort text not null, body text not null);
create index journal_sort on journal(sort, seq);

-- Costs: one row for each day (since 1970, UTC), kind and tenant. cpu, wall: seconds.
create table cost(day int not null, kind text not null, tenant text not null, runs int not null, cpu real not null,
  wall real not null, bytes int not null, primary key(day, kind, tenant)) without rowid;
create index cost_tenant on cost(tenant);

-- The last number of each source whose costs were added on a day: a repetition adds nothing.
create table cost_source(day int not null, source text not null, number int not null,
  primary key(day, source)) without rowid;
