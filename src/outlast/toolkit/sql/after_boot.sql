-- Run when the host was started since the file was last used: a lease of before has no holder.
update idempotency_key set lease_until = 0 where answer is null;
