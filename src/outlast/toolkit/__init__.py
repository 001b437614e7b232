"""Cache, rate limiter, locks and idempotency keys, over memory, one SQLite file or Redis."""
