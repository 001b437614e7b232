"""The base class of a kind of store: its URLs, how to connect, and what tools may do with it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from pathlib import Path

from msgspec import Struct

from outlast.core.clock import Clock
from outlast.core.errors import ConfigurationError
from outlast.core.findings import Finding
from outlast.core.space import Space
from outlast.core.store.features import ALL_FEATURES, Features
from outlast.core.store.store import Store
from outlast.core.topology import Topology
from outlast.core.urls import redact_url

__all__ = ["Inspection", "StoreKind"]


class Inspection(Struct, frozen=True):
    """The result of an inspection, without the jobs. usable: the jobs can be inspected too.

    stale: (label, jobs) of dead holders. subject: the check that reports an error of a later inspection.
    """

    findings: Sequence[Finding]
    usable: bool = True
    stale: Sequence[tuple[str, int]] = ()
    subject: str = "store"


class StoreKind(ABC):
    """One kind of store. Every `url` that a method takes has one of its schemes.

    schemes: "redis+" stands for "redis+unix" and others. example: a URL for error texts. in_process: only the process
    that opened the store can reach its jobs. no_backup: why tools cannot copy it, "" if `backup` can. features: what
    every store of this kind offers, as its capabilities say it once it is open.
    """

    schemes: tuple[str, ...]
    example: str
    in_process: bool = False
    no_backup: str = ""
    features: Features = ALL_FEATURES

    @abstractmethod
    def connect(self, url: str, *, clock: Clock, max_body: int) -> Store:
        """Return the store, not opened. No I/O; ConfigurationError if the URL is wrong or a package is missing."""

    def library(self) -> Finding | None:
        """Return the finding about the store's library, None if it is optional or there is none."""
        return None

    def file(self, url: str) -> Path | None:
        """Return the absolute path of a store that is one file, None for any other."""
        return None

    def shown(self, url: str) -> str:
        """Return the name of the store for messages, without secrets."""
        return redact_url(url)

    def identity(self, url: str) -> str:
        """Return one name for one store: equal for all URLs of the same store."""
        return self.shown(url)

    def check_present(self, url: str, *, why: str, hint: str) -> None:  # noqa: B027 - only a file can be missing
        """Raise StoreMissing if `open` would create the store, StoreCorrupt if it is no store.

        why: the source of this URL; hint: how to give another one.
        """

    @abstractmethod
    async def inspect(self, url: str, *, why: str, pages: bool, spool: bool) -> Inspection:
        """Inspect the store and its surroundings without changes; raise StoreError, ConfigurationError.

        pages: check all stored data, which reads all of it. spool: a spool accepts jobs while the store is unavailable.
        """

    async def declared_findings(self, url: str, topology: Topology) -> list[Finding]:
        """Return the findings about what an app declares, of a store whose jobs cannot be inspected; change nothing."""
        return []

    async def waiting_kinds(self, url: str, clock: Clock, queues: Iterable[str]) -> dict[tuple[str, str], int]:
        """Return the number of unfinished jobs by (queue, kind), {} if they cannot be read here; raise StoreError."""
        return {}

    async def space(self, store: Store) -> Space | None:
        """Return the bytes that an open store uses and can use, None where that cannot be told; raise StoreError."""
        return None

    async def backup(self, store: Store, target: Path) -> None:
        """Write a consistent copy of an open store to a new file; raise StoreError, ConfigurationError."""
        raise ConfigurationError(f"{store.url} {self.no_backup or 'cannot be copied'}")

    async def restore(self, url: str, backup: Path) -> Path | None:
        """Put a backup in the place of the store; return where the replaced file is kept, None if there was none.

        Processes that have the store open find out: their calls raise StoreMoved from then on. Raise StoreError,
        ConfigurationError; the store is as it was then.
        """
        raise ConfigurationError(f"{self.shown(url)} {self.no_backup or 'cannot be restored'}")

    def isolated_url(self, url: str, name: str) -> str:
        """Return the URL of a separate, empty store on the same server; raise ConfigurationError."""
        raise ConfigurationError(f"{self.shown(url)} is not on a server: give 'redis://HOST'")

    async def erase(self, url: str) -> None:  # noqa: B027 - a file is removed with its folder
        """Remove all data of an isolated store; raise StoreError."""
