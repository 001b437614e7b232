-- Schema 5 only adds to schema 4, whose code does not know it and may still use the file (store.oldest_code stays 1).

-- One row for each exchange; body: core.exchanges.values.Exchange as JSON.
create table exchange(name text not null primary key, body text not null) without rowid;

-- One row for each binding; name: core.exchanges.changes.row_of; body: core.exchanges.values.Binding as JSON.
create table binding(name text not null primary key, body text not null) without rowid;

-- bindings: grows with each change of exchanges and bindings. A publish of copies compares it.
alter table store add column bindings int not null default 0;
