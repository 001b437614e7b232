-- The statements of idempotency keys (sql/0004_idempotency.sql). A row without an answer counts for a while after its
-- lease: `held` is the monotonic time from which on leases may have ended.

-- name: find (id, wall time, held)
select payload, token, lease_until, answer from idempotency_key
where id = ?1 and iif(answer is null, lease_until > ?3, expires > ?2)

-- name: put (id, payload, token, lease_until, expires, answer or null)
insert into idempotency_key (id, payload, token, lease_until, expires, answer) values (?1, ?2, ?3, ?4, ?5, ?6)
on conflict (id) do update set payload = excluded.payload, token = excluded.token, lease_until = excluded.lease_until,
  expires = excluded.expires, answer = excluded.answer

-- name: renew (id, token, lease_until, held)
update idempotency_key set lease_until = ?3 where id = ?1 and token = ?2 and answer is null and lease_until > ?4

-- name: free (id, token)
delete from idempotency_key where id = ?1 and token = ?2 and answer is null

-- name: drop_answered (wall time, the most rows)
delete from idempotency_key where seq in
(select seq from idempotency_key where answer is not null and expires <= ?1 limit ?2)

-- name: drop_held (held, the most rows)
delete from idempotency_key where seq in
(select seq from idempotency_key where answer is null and lease_until <= ?1 limit ?2)
