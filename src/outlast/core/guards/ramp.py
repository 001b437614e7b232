"""The ramp: which share of the calls is made after a breaker has closed."""

from __future__ import annotations

from typing import Final

__all__ = ["FIRST_SHARE", "share", "slots_of"]

FIRST_SHARE: Final = 0.1
"""The share of the calls that is made at once."""


def share(closed_for: float, ramp: float) -> float:
    """Return the share of the calls that is made `closed_for` seconds after the breaker closed: FIRST_SHARE to 1.

    It grows evenly and is 1 from `ramp` seconds on: what has just recovered is not met by all callers at once. A time
    before the closing, of a clock that went back, counts as the closing.
    """
    passed = max(0.0, closed_for)
    return 1.0 if passed >= ramp else min(1.0, FIRST_SHARE + (1.0 - FIRST_SHARE) * passed / ramp)


def slots_of(part: float, slots: int) -> int:
    """Return how many of these slots may run jobs at a share: at least one, or nothing would show that all is well."""
    return max(1, int(part * slots)) if part > 0 else 0
