"""What keeps a guarded call from being admitted at once."""

from __future__ import annotations

from enum import Enum

__all__ = ["MustWait"]


class MustWait(Enum):
    """What a call waits for before it is admitted."""

    TURN = "a permit of the bulkhead"
    PROBE = "the link, which says whether this process has the probe"
