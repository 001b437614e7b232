-- Statements of the boards in the toolkit's file.

-- name: period (1 name, 2 expires or null)
insert into board_periods (name, members, expires) values (?1, 0, ?2)
on conflict (name) do update set expires = excluded.expires
returning id, members;

-- name: count (1 id of the period, 2 members to add)
update board_periods set members = members + ?2 where id = ?1;

-- name: put (1 id of the period, 2 member, 3 score negated)
insert into board_scores (board, member, down) values (?1, ?2, ?3)
on conflict (board, member) do update set down = excluded.down;

-- name: remove (1 name of the period, 2 member)
delete from board_scores where board = (select id from board_periods where name = ?1) and member = ?2
returning board;

-- name: mark (1 mark, 2 expires)
insert into board_marks (mark, expires) values (?1, ?2)
on conflict (mark) do update set expires = excluded.expires;

-- name: score (1 name of the period, 2 member)
select -down from board_scores where board = (select id from board_periods where name = ?1) and member = ?2;

-- name: size (1 name of the period)
select members from board_periods where name = ?1;

-- name: top (1 name of the period, 2 the most rows)
select member, -down from board_scores where board = (select id from board_periods where name = ?1)
order by down, member limit ?2;

-- name: rank (1 name of the period, 2 member)
select count(*) + 1 from board_scores where board = (select id from board_periods where name = ?1)
and (down, member) < (
  select down, member from board_scores
  where board = (select id from board_periods where name = ?1) and member = ?2
)
having exists (
  select 1 from board_scores where board = (select id from board_periods where name = ?1) and member = ?2
);

-- name: around (1 name of the period, 2 member, 3 the most rows)
with me (board, down, member) as (
  select board, down, member from board_scores
  where board = (select id from board_periods where name = ?1) and member = ?2
),
before (member, down) as (
  select other.member, other.down from me, board_scores as other
  where other.board = me.board and (other.down, other.member) < (me.down, me.member)
  order by other.down desc, other.member desc limit ?3
),
after (member, down) as (
  select other.member, other.down from me, board_scores as other
  where other.board = me.board and (other.down, other.member) >= (me.down, me.member)
  order by other.down, other.member limit ?3 + 1
)
select member, -down, (
  select count(*) from me, board_scores as other
  where other.board = me.board and (other.down, other.member) < (me.down, me.member)
) - (select count(*) from before) + 1
from (select member, down from before union all select member, down from after) order by down, member;

-- name: note (1 id of the period, 2 member)
insert into unique_members (board, member) values (?1, ?2);

-- name: has (1 name of the period, 2 member)
select 1 from unique_members where board = (select id from board_periods where name = ?1) and member = ?2;

-- name: tidy_scores (1 now, 2 the most rows)
delete from board_scores where (board, member) in (
  select board, member from board_scores
  where board in (select id from board_periods where expires <= ?1) limit ?2
);

-- name: tidy_members (1 now, 2 the most rows)
delete from unique_members where (board, member) in (
  select board, member from unique_members
  where board in (select id from board_periods where expires <= ?1) limit ?2
);

-- name: tidy_periods (1 now, 2 the most rows)
delete from board_periods where id in (
  select id from board_periods where expires <= ?1
  and not exists (select 1 from board_scores where board = board_periods.id)
  and not exists (select 1 from unique_members where board = board_periods.id) limit ?2
);

-- name: tidy_marks (1 now, 2 the most rows)
delete from board_marks where mark in (select mark from board_marks where expires <= ?1 limit ?2);
