-- Run when the host was started since the file was last used: a lease of before has no holder.
delete from lock_places;
