"""Cache, sessions, rate limiter, lock, idempotency keys and boards, over memory, one SQLite file or Redis."""
