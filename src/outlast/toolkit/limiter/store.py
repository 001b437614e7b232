"""What a limiter asks of a store."""

from __future__ import annotations

from typing import Final, Protocol

from outlast.toolkit.limiter.decide import Outcome
from outlast.toolkit.limiter.quotas import Rules

__all__ = ["LIVE_FOR", "LimitStore"]

LIVE_FOR: Final = 20
"""Seconds for which a process counts after its last note."""


class LimitStore(Protocol):
    """The limits of a store. Both calls are one step of it, and raise StoreError."""

    async def take(self, rules: Rules, key: str, cost: int) -> Outcome:
        """Decide, and take the cost if it is admitted. key: safe text, as `key_text` returns it."""
        ...

    async def live(self, limiter: str, process: str) -> int:
        """Note that a process uses a limiter; return how many processes did in the last LIVE_FOR seconds."""
        ...
