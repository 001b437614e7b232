"""Runs jobs in child processes: the pool of reused processes, the fork server, and their messages."""
