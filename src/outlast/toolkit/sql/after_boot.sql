-- Run when the host was started since the file was last used: a lease of before has no holder.
delete from limit_processes;
delete from idempotency_key where answer is null;
delete from lock_places;
-- The cache: an invalidation may not have reached the disk.
delete from cache;
delete from cache_leases;
delete from cache_tags;
