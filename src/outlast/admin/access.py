"""Which store an operation works on, and opening it without making it by a look."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from outlast.brokers.kind import StoreKind
from outlast.brokers.registry import kind_of
from outlast.core.store.store import Store

if TYPE_CHECKING:
    from outlast.app import Outlast
    from outlast.settings import Settings

__all__ = ["StoreAccess", "open_existing", "open_or_create"]


@dataclass(frozen=True, slots=True)
class StoreAccess:
    """A store's URL, in `settings`, and why it is used. hint: how to name another store, for errors."""

    settings: Settings
    why: str
    hint: str = ""
    app: Outlast | None = None

    @property
    def url(self) -> str:
        """The store's URL, with its secrets."""
        return self.settings.url

    @property
    def kind(self) -> StoreKind:
        """What kind of store it is."""
        return kind_of(self.url, self.why)

    @property
    def file(self) -> Path | None:
        """The absolute path of a store that is a file."""
        return self.kind.file(self.url)

    @property
    def shown(self) -> str:
        """The file, or the URL without its secrets."""
        return self.kind.shown(self.url)


@asynccontextmanager
async def open_existing(access: StoreAccess) -> AsyncIterator[Store]:
    """Open a store that is there already, and close it; raise StoreError, StoreMissing."""
    access.kind.check_present(access.url, why=access.why, hint=access.hint)
    async with open_or_create(access) as store:
        yield store


@asynccontextmanager
async def open_or_create(access: StoreAccess) -> AsyncIterator[Store]:
    """Open the store, made if it is missing, and close it; raise StoreError."""
    from outlast.aio.clock import SystemClock

    store = access.kind.connect(access.url, clock=SystemClock(), max_body=access.settings.max_body)
    await store.broker.open()
    try:
        yield store
    finally:
        await store.broker.close()
