"""`Idempotency-Key` for HTTP requests: the first one runs, repetitions get its answer.

After draft-ietf-httpapi-idempotency-key-header-07.
"""

from __future__ import annotations

from outlast.fastapi.idempotency.middleware import IdempotencyMiddleware
from outlast.fastapi.idempotency.options import Idempotency
from outlast.fastapi.idempotency.required import IdempotencyKeyMissing, require_idempotency_key

__all__ = ["Idempotency", "IdempotencyKeyMissing", "IdempotencyMiddleware", "require_idempotency_key"]
