-- Locks: who holds a key, who waits for it, and the one counter of tokens and tickets.
-- until: CLOCK_MONOTONIC. token: 0 while its holder waits. ticket: the order of those who wait.
create table lock_places (
  holder text primary key,
  key text not null,
  ticket integer not null,
  token integer not null,
  until real not null
) strict;
create index lock_places_by_key on lock_places (key, ticket);
create index lock_places_by_end on lock_places (until);
create table lock_fence (
  id integer primary key check (id = 1),
  last integer not null
) strict;
insert into lock_fence (id, last) values (1, 0);
