"""Which store a command looks at, why that one, and opening it without ever making it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

from outlast.cli.session import Session
from outlast.core.errors import ConfigurationError, StoreCorrupt, StoreUnavailable
from outlast.core.text import redact_url

if TYPE_CHECKING:
    from outlast.app import Outlast
    from outlast.core.store.store import Store
    from outlast.settings import Settings

__all__ = ["StoreMissing", "StoreAccess", "ask", "find_store", "made", "opened"]

T = TypeVar("T")

_MAGIC: Final = b"SQLite format 3\0"


class StoreMissing(StoreUnavailable):
    """There is no store where the command looked."""


@dataclass(frozen=True, slots=True)
class StoreAccess:
    """A store's URL and why it is meant. file: the absolute path of a store that is a file."""

    settings: Settings
    why: str
    file: Path | None
    app: Outlast | None = None

    @property
    def is_server(self) -> bool:
        """Whether the store is on a server that several hosts may reach."""
        return self.settings.url.partition(":")[0].partition("+")[0] in ("redis", "rediss")

    @property
    def shown(self) -> str:
        """The file, or the URL without its secrets."""
        return str(self.file) if self.file is not None else redact_url(self.settings.url)


def find_store(given: Session, option: str = "--url") -> StoreAccess:
    """Return the store that is meant: --url, the app's own, OUTLAST_URL, or the default file. No I/O on it.

    option: what the URL is called on this command line.
    """
    import msgspec

    from outlast.brokers import sqlite_path
    from outlast.settings import Settings

    app: Outlast | None = None
    if given.app:
        from outlast.cli.target import load_outlast

        app = load_outlast(given.app)
        settings, origin = app.settings, Settings.origins(app.name, app.explicit_settings)["url"]
    else:
        settings, origin = Settings.load(""), Settings.origins("")["url"]
    if given.url:
        settings, why = msgspec.structs.replace(settings, url=given.url), option
    elif origin == "default":
        folder = Path(settings.url.removeprefix("sqlite:")).parent
        beside = "beside pyproject.toml" if (folder / "pyproject.toml").is_file() else "in this folder"
        why = f"the default, {beside}"
    else:
        why = f"Settings(url=...) of {given.app}" if origin == "argument" else origin
    url = settings.url
    if url.partition(":")[0] not in ("sqlite", "memory") and not StoreAccess(settings, why, None).is_server:
        raise ConfigurationError(f"url {redact_url(url)!r} ({why}): give 'sqlite:PATH', 'redis://HOST' or 'memory:'")
    path = Path(os.path.abspath(sqlite_path(url))) if url.startswith("sqlite:") else None  # noqa: PTH100
    return StoreAccess(settings, why, path, app)


@asynccontextmanager
async def opened(place: StoreAccess) -> AsyncIterator[Store]:
    """Open the store, a file which must be there already, and close it; raise StoreError or Missing."""
    if place.is_server:
        async with made(place) as store:
            yield store
        return
    if place.file is None:
        raise StoreMissing(
            f"{place.shown} ({place.why}) is in the memory of one process: no other can look at it; use 'sqlite:PATH'"
        )
    if not place.file.is_file() or place.file.stat().st_size == 0:
        option = place.why if place.why.startswith("--") else "--url"
        raise StoreMissing(
            f"no store at {place.file} ({place.why}): nothing was enqueued there yet, or another one is meant: "
            f"give {option} sqlite:PATH or --app module:name, or set OUTLAST_URL{_other_variables(place)}"
        )
    if not _is_sqlite(place.file):  # seen here, before anything is made beside it
        raise StoreCorrupt(
            f"{place.file} ({place.why}) is not an SQLite file: name another one with --url or OUTLAST_URL"
        )
    async with made(place) as store:
        yield store


@asynccontextmanager
async def made(place: StoreAccess) -> AsyncIterator[Store]:
    """Open the store, made if it is missing, and close it; raise StoreError."""
    from outlast.aio.clock import SystemClock
    from outlast.brokers import connect

    store = connect(place.settings.url, clock=SystemClock(), max_body=place.settings.max_body)
    await store.broker.open()
    try:
        yield store
    finally:
        await store.broker.close()


def _is_sqlite(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(len(_MAGIC)) == _MAGIC
    except OSError as error:
        raise StoreUnavailable(f"{path} cannot be read ({error.strerror}): run as its owner") from error


def _other_variables(place: StoreAccess) -> str:
    """Return the apps' own variables that would name another store, for whoever has forgotten --app."""
    if place.app is not None or place.why.startswith("--"):
        return ""
    names = [name for name in type(place.settings).idle_variables("") if name.endswith("_URL")]
    return f" (note: {', '.join(names)} is only read with --app)" if names else ""


def ask(place: StoreAccess, question: Callable[[Store], Awaitable[T]]) -> T:
    """Open the store, ask, close it, and return the answer."""

    async def run() -> T:
        async with opened(place) as store:
            return await question(store)

    return asyncio.run(run())
