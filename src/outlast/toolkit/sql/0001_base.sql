-- The file of the toolkit. Leases are times of CLOCK_MONOTONIC, which starts at 0 with each boot of the host: `boot` says
-- which boot those in the file belong to. The first open of another boot runs sql/after_boot.sql.
create table toolkit (
  id integer primary key check (id = 1),
  boot text not null
) strict;
insert into toolkit (id, boot) values (1, '');
