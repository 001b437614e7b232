-- The statements of sessions (sql/0006_sessions.sql). Digests are blobs.

-- name: find (digest, wall time)
select user, since, seen, ends, until, fields, moved from session where id = ?1 and until > ?2

-- name: touch (digest, wall time, until)
update session set seen = ?2, until = ?3 where id = ?1 and moved = 0 and until > ?2 and until < ?3

-- name: put (digest, user or null, since, seen, ends, until, fields, moved)
insert into session (id, user, since, seen, ends, until, fields, moved) values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
on conflict (id) do update set user = excluded.user, since = excluded.since, seen = excluded.seen,
  ends = excluded.ends, until = excluded.until, fields = excluded.fields, moved = excluded.moved

-- name: keep_fields (digest, fields)
update session set fields = ?2 where id = ?1

-- name: end (digest, wall time)
delete from session where id = ?1 and moved = 0 and until > ?2

-- name: of_user (user, wall time)
select id, user, since, seen, ends, until, fields, moved from session
where user = ?1 and until > ?2 order by since, seq

-- name: bound (user, digest to keep, the most others in use, wall time)
delete from session where seq in
(select seq from session where user = ?1 and id <> ?2 and until > ?4 order by since desc, seq desc limit -1 offset ?3)

-- name: end_user (user, digest to keep, wall time)
delete from session where user = ?1 and id <> ?2 and until > ?3

-- name: drop_ended (wall time, the most rows)
delete from session where seq in (select seq from session where until <= ?1 limit ?2)
