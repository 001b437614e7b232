-- The states of limits, one row a key, until all of it is back. state: msgpack, an array of numbers for each limit.
-- expires: microseconds since 1970.
create table limits (
  key text primary key,
  state blob not null,
  expires integer not null
) strict, without rowid;
create index limits_by_expiry on limits (expires);
-- The processes that use a limiter. noted: CLOCK_MONOTONIC of the last note.
create table limit_processes (
  limiter text not null,
  process text not null,
  noted real not null,
  primary key (limiter, process)
) strict, without rowid;
