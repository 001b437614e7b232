-- Run when the host was started since the file was last used: a lease of before has no holder.
-- The cache: an invalidation may not have reached the disk.
delete from cache;
delete from cache_leases;
delete from cache_tags;
