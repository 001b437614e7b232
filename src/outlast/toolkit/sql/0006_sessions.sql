-- Sessions. id: the SHA-256 of the id that the client has, which no file has. Times: seconds since 1970. since: the login,
-- or when it was made; seen: the last use that was noted; ends: the absolute end; until: the end without another use.
-- fields: msgpack, JSON by name. moved: the id was replaced by another one; the row keeps nothing else, for a while.
create table session (
  seq integer primary key,
  id blob not null unique,
  user text,
  since real not null,
  seen real not null,
  ends real not null,
  until real not null,
  fields blob not null,
  moved integer not null
) strict;
create index session_by_user on session (user, since) where user is not null;
create index session_by_end on session (until);
