"""What a kind of store says of itself: its URLs, how to connect, and what tools may do with it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from pathlib import Path

from msgspec import Struct

from outlast.core.clock import Clock
from outlast.core.errors import ConfigurationError
from outlast.core.findings import Finding
from outlast.core.store.store import Store
from outlast.core.text import redact_url

__all__ = ["Inspection", "StoreKind"]


class Inspection(Struct, frozen=True):
    """What an inspection found short of the jobs. usable: the jobs may be looked at too.

    stale: (label, jobs) of holders that are gone. subject: the check that an error of a later look belongs to.
    """

    findings: Sequence[Finding]
    usable: bool = True
    stale: Sequence[tuple[str, int]] = ()
    subject: str = "store"


class StoreKind(ABC):
    """One kind of store. Every `url` that a method takes has one of its schemes.

    schemes: with "redis+" for "redis+unix" and the like. example: how a URL is written. in_process: only the process
    that opened it reaches its jobs. no_backup: why tools make no copy, "" where `backup` does.
    """

    schemes: tuple[str, ...]
    example: str
    in_process: bool = False
    no_backup: str = ""

    @abstractmethod
    def connect(self, url: str, *, clock: Clock, max_body: int) -> Store:
        """Return the store, not opened. No I/O; ConfigurationError if the URL is wrong or a package is missing."""

    def library(self) -> Finding | None:
        """Return what is found of the library that the store runs on, where one is always installed."""
        return None

    def file(self, url: str) -> Path | None:
        """Return the absolute path of a store that is one file."""
        return None

    def shown(self, url: str) -> str:
        """Return what messages call the store, without secrets."""
        return redact_url(url)

    def identity(self, url: str) -> str:
        """Return one name for one store, however its URL is written."""
        return self.shown(url)

    def check_present(self, url: str, *, why: str, hint: str) -> None:  # noqa: B027 - a server is not made by a look
        """Raise StoreMissing or StoreCorrupt where opening the store would make it.

        why: the reason that this URL is used; hint: how to name another.
        """

    @abstractmethod
    async def inspect(self, url: str, *, why: str, pages: bool, spool: bool) -> Inspection:
        """Look at the store and its surroundings and change nothing; raise StoreError, ConfigurationError.

        pages: check everything that is stored, which reads it all. spool: jobs are kept elsewhere while it is away.
        """

    async def waiting_kinds(self, url: str, clock: Clock, queues: Iterable[str]) -> dict[tuple[str, str], int]:
        """Return how many unfinished jobs there are by (queue, kind); raise StoreError."""
        raise NotImplementedError

    async def backup(self, store: Store, target: Path) -> None:
        """Write a consistent copy of an open store to a new file; raise StoreError."""
        raise NotImplementedError

    def isolated_url(self, url: str, name: str) -> str:
        """Return the URL of an empty store of its own at this one's server; raise ConfigurationError."""
        raise ConfigurationError(f"{self.example!r} names no server: give 'redis://HOST'")

    async def erase(self, url: str) -> None:  # noqa: B027 - a file goes with its folder
        """Remove all that was kept at the URL of an isolated store; raise StoreError."""
