-- Idempotency keys. id: the digest of a key in its scope; payload: the digest of the request; token: of the holder;
-- lease_until: CLOCK_MONOTONIC at which an unfinished request counts as crashed; answer: null until it has ended;
-- expires: wall time at which the row may be removed.
create table idempotency_key (
  seq integer primary key,
  id text not null unique,
  payload blob not null,
  token text not null,
  lease_until real not null,
  expires real not null,
  answer blob
) strict;
create index idempotency_key_expires on idempotency_key (expires);
