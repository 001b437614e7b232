"""Locks, semaphores and leaders with fencing tokens, over memory, one SQLite file or Redis."""
