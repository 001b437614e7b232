"""The supervisor: a process of its own that keeps worker processes alive and imports no user code."""
