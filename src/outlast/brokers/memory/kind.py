"""The kind of the memory store, `memory:`: for tests; no other process can reach its jobs."""

from __future__ import annotations

from outlast.brokers.kind import Inspection, StoreKind
from outlast.core.clock import Clock
from outlast.core.errors import StoreMissing
from outlast.core.findings import Finding
from outlast.core.store.store import Store

__all__ = ["MemoryKind"]


class MemoryKind(StoreKind):
    """The store that keeps jobs in the memory of one process."""

    schemes = ("memory",)
    example = "memory:"
    in_process = True

    def connect(self, url: str, *, clock: Clock, max_body: int) -> Store:
        """Return an empty store."""
        from outlast.brokers.memory.store import MemoryStore

        return Store.of(MemoryStore(clock, max_body=max_body), url)

    def check_present(self, url: str, *, why: str, hint: str) -> None:
        """Raise StoreMissing: the jobs are in another process."""
        raise StoreMissing(
            f"{url} ({why}) is in the memory of one process: no other process can read it; use 'sqlite:PATH'"
        )

    async def inspect(self, url: str, *, why: str, pages: bool, spool: bool) -> Inspection:
        """Return one finding: the store cannot be inspected from another process."""
        text = f"{url} ({why}) keeps jobs in one process only"
        return Inspection([Finding("store", "error", text, "use sqlite:PATH")], usable=False)
