"""The store that an operation works on, and how to open it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from outlast.brokers.kind import StoreKind
from outlast.brokers.registry import connect, kind_of
from outlast.core.store.store import Store

if TYPE_CHECKING:
    from outlast.app import Outlast
    from outlast.settings import Settings
    from outlast.toolkit.objects.claims import Claims

__all__ = ["StoreAccess", "claims_of", "open_existing", "open_or_create"]


@dataclass(frozen=True, slots=True)
class StoreAccess:
    """A store, by the URL in `settings`. why: the source of the URL; hint: how to name another store, for errors."""

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
        """The kind of the store."""
        return kind_of(self.url, self.why)

    @property
    def file(self) -> Path | None:
        """The absolute path if the store is a file."""
        return self.kind.file(self.url)

    @property
    def shown(self) -> str:
        """The file, or the URL without its secrets."""
        return self.kind.shown(self.url)


def claims_of(access: StoreAccess) -> Claims:
    """Return where large arguments and results of the store's jobs are, by the same settings as for an app."""
    from outlast.aio.clock import SystemClock
    from outlast.toolkit.objects.claims import Claims
    from outlast.toolkit.objects.places import objects_url

    settings = access.settings
    return Claims(
        objects_url(settings.objects_url, access.url),
        clock=SystemClock(),
        timeout=settings.objects_timeout,
        over=settings.objects_over,
        keep=settings.objects_keep,
    )


@asynccontextmanager
async def open_existing(access: StoreAccess, *, bridged: bool = False) -> AsyncIterator[Store]:
    """Open an existing store, and close it at the end; raise StoreError, StoreMissing.

    bridged: with the exchanges of the RabbitMQ that `amqp_url` names, if it is set.
    """
    access.kind.check_present(access.url, why=access.why, hint=access.hint)
    async with open_or_create(access, bridged=bridged) as store:
        yield store


@asynccontextmanager
async def open_or_create(access: StoreAccess, *, bridged: bool = False) -> AsyncIterator[Store]:
    """Open the store, created if missing, and close it at the end; raise StoreError. bridged: as `open_existing`.

    What is changed through it is in the journal, by the user of this process, where the store keeps one.
    """
    from outlast.admin.audit import audited, operator
    from outlast.aio.clock import SystemClock

    kind, settings = access.kind, access.settings  # its error names the source of the URL
    amqp_url = settings.amqp_url if bridged else ""
    store = connect(access.url, clock=SystemClock(), max_body=settings.max_body, amqp_url=amqp_url, kind=kind)
    await store.broker.open()
    try:
        async with audited(store, operator()) as found:
            yield found
    finally:
        await store.broker.close()
