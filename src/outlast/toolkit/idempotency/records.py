"""The record of an idempotency key, and what each store does with it."""

from __future__ import annotations

from typing import Final, Literal, Protocol

from msgspec import Struct

__all__ = ["GRACE", "KeyRecords", "KeyFound"]

GRACE: Final = 60.0
"""Seconds for which a record without an answer is kept after its lease, for a holder that still comes back."""


class KeyFound(Struct, frozen=True):
    """What `begin` found. left: seconds that the lease of the other holder still runs. answer: of "answered"."""

    state: Literal["begun", "in-flight", "other-payload", "answered"]
    left: float = 0.0
    answer: bytes = b""


class KeyRecords(Protocol):
    """The records of one store. id: of a key in its scope. token: of one holder; no two holders have the same.

    Every call is one step and may be repeated. All raise StoreError.
    """

    async def begin(self, id: str, payload: bytes, token: str, lease: float) -> KeyFound:  # noqa: A002
        """Hold the key for `lease` seconds if no other holds it and it has no answer; return what was found.

        payload: the digest of the request. A key whose holder's lease has ended is free, whatever its payload was.
        """
        ...

    async def renew(self, id: str, token: str, lease: float) -> bool:  # noqa: A002
        """Hold the key for `lease` seconds from now; return False if the holder has it no longer."""
        ...

    async def finish(self, id: str, payload: bytes, token: str, answer: bytes, ttl: float) -> bool:  # noqa: A002
        """Store the answer for `ttl` seconds, unless another holder has the key or has answered; return whether."""
        ...

    async def free(self, id: str, token: str) -> None:  # noqa: A002
        """Let the next request with the key run; do nothing if this holder does not have it."""
        ...
