-- Idempotency keys. id: the digest of a key in its scope; payload: the digest of the request; token: of the holder.
-- Of a request that runs: lease_until, CLOCK_MONOTONIC at which it counts as crashed; no answer. Of one that has ended:
-- its answer, and expires, wall time at which the row may be removed. A step of the wall clock ends no lease.
create table idempotency_key (
  seq integer primary key,
  id text not null unique,
  payload blob not null,
  token text not null,
  lease_until real not null,
  expires real not null,
  answer blob
) strict;
create index idempotency_key_held on idempotency_key (lease_until) where answer is null;
create index idempotency_key_answered on idempotency_key (expires) where answer is not null;
