-- The cache. Times are of CLOCK_MONOTONIC. Commits are not synced: a crash of the host may undo an invalidation, so that
-- all entries are removed after a boot (after_boot.sql).
-- id: of the computation that made the entry. tags: JSON object tag -> version, '' for none. used: the last use known.
create table cache (
  key text primary key,
  id text not null,
  fresh real not null,
  until real not null,
  cost real not null,
  tags text not null,
  used real not null,
  size integer not null,
  body blob not null
) strict;
create index cache_until on cache (until);
create index cache_used on cache (used);
-- The lease of the one computation for a key.
create table cache_leases (
  key text primary key,
  id text not null,
  until real not null
) strict, without rowid;
create index cache_leases_until on cache_leases (until);
create table cache_tags (
  tag text primary key,
  version text not null,
  until real not null
) strict, without rowid;
create index cache_tags_until on cache_tags (until);
create table cache_total (
  id integer primary key check (id = 1),
  bytes integer not null
) strict;
insert into cache_total (id, bytes) values (1, 0);
create trigger cache_added after insert on cache begin
  update cache_total set bytes = bytes + new.size;
end;
create trigger cache_removed after delete on cache begin
  update cache_total set bytes = bytes - old.size;
end;
