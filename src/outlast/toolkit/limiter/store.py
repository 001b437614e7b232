"""What a limiter asks of a store, and the form of it in each kind of store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from outlast.toolkit.limiter.decide import Outcome
from outlast.toolkit.limiter.memory import MemoryLimits
from outlast.toolkit.limiter.quotas import Rules
from outlast.toolkit.store import ToolkitStore

if TYPE_CHECKING:
    from outlast.toolkit.file import ToolkitFile
    from outlast.toolkit.server import ToolkitServer

__all__ = ["LIVE_FOR", "LimitStore", "limits_of"]

LIVE_FOR: Final = 20
"""Seconds for which a process counts after its last note."""


class LimitStore(Protocol):
    """The limits of a store. Both calls are one step of it, and raise StoreError."""

    async def take(self, rules: Rules, key: str, cost: int) -> Outcome:
        """Decide, and take the cost if it is admitted. key: as `key_text` returns it. The outcome has no state."""
        ...

    async def live(self, limiter: str, process: str) -> int:
        """Note that a process uses a limiter; return how many processes did in the last LIVE_FOR seconds."""
        ...


def limits_of(store: ToolkitStore) -> LimitStore:
    """Return the limits of a store."""
    return store.choose(MemoryLimits.of, _of_file, _of_server)


def _of_file(file: ToolkitFile) -> LimitStore:
    from outlast.toolkit.limiter.file import FileLimits

    return FileLimits(file)


def _of_server(server: ToolkitServer) -> LimitStore:
    from outlast.toolkit.limiter.server import ServerLimits

    return ServerLimits(server)
