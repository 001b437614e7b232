"""Finds the store that a command works on, and calls it."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

import typer

from outlast.cli.common_options import CommonOptions
from outlast.cli.output import show
from outlast.core.exitcodes import NOT_FOUND

if TYPE_CHECKING:
    from outlast.admin.access import StoreAccess
    from outlast.app import Outlast
    from outlast.core.store.records import JobRecord
    from outlast.core.store.store import Store
    from outlast.core.topology import Topology
    from outlast.settings import Settings

__all__ = [
    "declared_queues",
    "declared_topology",
    "find_job",
    "find_store",
    "on_store",
    "remark_on_bridge",
    "stop_on_interrupt",
]

T = TypeVar("T")


def find_store(options: CommonOptions, option: str = "--url") -> StoreAccess:
    """Return the store of --url, else of the app, else of OUTLAST_URL, else the default file; without I/O on it.

    option: the name of the option that gave `options.url`.
    """
    import msgspec

    from outlast.admin.access import StoreAccess
    from outlast.settings import Settings

    app: Outlast | None = None
    if options.app:
        from outlast.cli.target import load_outlast

        app = load_outlast(options.app)
        settings, origin = app.settings, Settings.origins(app.name, app.explicit_settings)["url"]
    else:
        named = {"OUTLAST_URL": options.url} if options.url else {}  # then no default is looked for
        settings, origin = Settings.load("", environ={**os.environ, **named}), Settings.origins("")["url"]
    if options.url:
        settings, why = msgspec.structs.replace(settings, url=options.url), option
    else:
        why = {"argument": f"Settings(url=...) of {options.app}", "default": "the default"}.get(origin, origin)
    access = StoreAccess(settings, why, app=app)
    file = access.file
    if file is not None and why == "the default":
        beside = "beside pyproject.toml" if (file.parent / "pyproject.toml").is_file() else "in this folder"
        why = f"the default, {beside}"
    hint = f"give {option if options.url else '--url'} {access.kind.example} or --app module:name, or set OUTLAST_URL"
    if app is None and not options.url:
        hint += _app_variables(settings)
    return StoreAccess(settings, why, hint, app)


def _app_variables(settings: Settings) -> str:
    """Return a note on the variables of apps: they name other stores and are only read with --app."""
    names = [name for name in type(settings).idle_variables("") if name.endswith("_URL")]
    return f" (note: {', '.join(names)} is only read with --app)" if names else ""


def declared_topology(access: StoreAccess) -> Topology:
    """Return what the app of --app declares, nothing without one; raise ConfigurationError for a wrong declaration."""
    from outlast.core.topology import Topology

    return Topology() if access.app is None else access.app.registry.topology()


def declared_queues(access: StoreAccess) -> list[str]:
    """Return the queues of the app of --app, none without one."""
    return [] if access.app is None else sorted(access.app.registry.queues)


def on_store(access: StoreAccess, call: Callable[[Store], Awaitable[T]], *, bridged: bool = False) -> T:
    """Open the store, which must exist, call, close it, and return the result. bridged: with RabbitMQ's exchanges."""
    from outlast.admin.access import open_existing

    async def run() -> T:
        async with open_existing(access, bridged=bridged) as store:
            return await call(store)

    return asyncio.run(run())


def remark_on_bridge(access: StoreAccess) -> None:
    """Tell what is not known of exchanges that RabbitMQ routes."""
    if access.settings.amqp_url:
        show.note(
            "outlast: RabbitMQ routes these events (amqp_url): bindings that other clients made there are not shown; "
            "see rabbitmqctl list_bindings"
        )


def find_job(access: StoreAccess, id_: str) -> JobRecord:
    """Return the record of a job; exit 6 if there is none."""
    (record,) = on_store(access, lambda store: store.records.get([id_]))
    if record is None:
        form = "" if "." in id_ else " (an id has the form queue.rest)"
        show.note(f"outlast: no job {id_} in {access.shown}{form}: it was never enqueued here, or it was removed")
        raise typer.Exit(NOT_FOUND)
    return record


@contextmanager
def stop_on_interrupt() -> Iterator[asyncio.Event]:
    """Return an event of the running loop that Ctrl-C sets, in place of raising KeyboardInterrupt."""
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGINT, stop.set)
    try:
        yield stop
    finally:
        loop.remove_signal_handler(signal.SIGINT)
