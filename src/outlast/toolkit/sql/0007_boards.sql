-- Boards and unique counts. Times are wall times, seconds since 1970: a period goes on after a boot of the host.
-- board_periods: one period each. name: its kind, its start and the name of the board. expires: null: never.
create table board_periods (
  id integer primary key,
  name text not null unique,
  members integer not null,
  expires integer
) strict;
create index board_periods_by_end on board_periods (expires) where expires is not null;
-- down: the score negated, so that the index has the best first, and those of one score by their bytes.
create table board_scores (
  board integer not null,
  member blob not null,
  down integer not null,
  primary key (board, member)
) strict, without rowid;
create index board_scores_in_order on board_scores (board, down, member);
create table unique_members (
  board integer not null,
  member blob not null,
  primary key (board, member)
) strict, without rowid;
-- The marks of adds that are done once.
create table board_marks (
  mark text primary key,
  expires real not null
) strict, without rowid;
create index board_marks_by_end on board_marks (expires);
