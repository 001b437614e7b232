"""Idempotency keys: a request with a key runs once, and its answer is given again to each repetition."""
