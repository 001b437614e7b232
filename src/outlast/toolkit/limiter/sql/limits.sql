-- Statements of the limits in the toolkit's file.

-- name: keep (1 key, 2 state, 3 expires: microseconds since 1970)
insert into limits (key, state, expires) values (?1, ?2, ?3)
on conflict (key) do update set state = excluded.state, expires = excluded.expires;

-- name: note (1 limiter, 2 process, 3 now: CLOCK_MONOTONIC)
insert into limit_processes (limiter, process, noted) values (?1, ?2, ?3)
on conflict (limiter, process) do update set noted = excluded.noted;

-- name: forget (1 time of CLOCK_MONOTONIC until which a note counts no more)
delete from limit_processes where noted <= ?1;

-- name: tidy (1 now: microseconds since 1970, 2 the most rows)
delete from limits where key in (select key from limits where expires <= ?1 limit ?2);
