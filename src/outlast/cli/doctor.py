"""`outlast doctor`: looks at the machine, the file, the queues and the app; each finding comes with its fix."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Final

import typer

from outlast.cli.output import show
from outlast.cli.session import AppOption, JsonOption, UrlOption, session
from outlast.cli.store_access import StoreAccess, ask, find_store
from outlast.core.errors import ConfigurationError, OutlastError
from outlast.core.exitcodes import FAILED
from outlast.core.store.broker import QueueStats

if TYPE_CHECKING:
    from outlast.admin.findings import Finding
    from outlast.app import Outlast

__all__ = ["register"]

_STYLES: Final = {"ok": "green", "warning": "bold yellow", "error": "bold red"}


def register(root: typer.Typer) -> None:
    """Add the command."""
    root.command("doctor", short_help="Look for what is wrong, and how to fix it.")(doctor)


def doctor(
    ctx: typer.Context,
    *,
    integrity: Annotated[
        bool, typer.Option("--integrity/--no-integrity", help="Have SQLite check every page (reads the whole file).")
    ] = True,
    url: UrlOption = None,
    app: AppOption = None,
    json: JsonOption = False,
) -> None:
    """Look for what is wrong and say how to fix it; exit 1 when something must be fixed."""
    given = session(ctx, url, app, json)
    place = find_store(given)
    findings = [*_machine(place), *_store(place, integrity=integrity, shown=given.app or "")]
    errors = sum(each.severity == "error" for each in findings)
    warnings = sum(each.severity == "warning" for each in findings)
    if given.json:
        show.json({"store": place.shown, "errors": errors, "warnings": warnings, "findings": findings})
    else:
        for each in findings:
            show.line((f"{each.severity:<9}", _STYLES[each.severity]), f"{each.check}: {each.text}")
            if each.fix:
                show.line(" " * 9, ("fix: ", "dim"), (each.fix, "bold"))
        verdict = f"{errors} to fix, {warnings} to look at" if errors or warnings else "all is well"
        show.line(f"{place.shown}: {verdict}")
    if errors:
        raise typer.Exit(FAILED)


def _machine(place: StoreAccess) -> Iterator[Finding]:
    import resource

    from outlast.admin.findings import Finding, of_limits, of_variables
    from outlast.brokers.sqlite.inspection import sqlite_fault, sqlite_version

    yield Finding("python", "ok", ".".join(map(str, sys.version_info[:3])))
    fault = sqlite_fault()
    if fault:
        yield Finding("sqlite", "error", fault, "pip install --upgrade apsw")
    else:
        yield Finding("sqlite", "ok", f"{sqlite_version()} (of apsw)")
    yield of_limits(resource.getrlimit(resource.RLIMIT_NOFILE)[0])
    app = place.app
    idle = type(place.settings).idle_variables(
        None if app is None else app.name, None if app is None else app.explicit_settings
    )
    yield from of_variables(idle)


def _store(place: StoreAccess, *, integrity: bool, shown: str) -> Iterator[Finding]:
    from outlast.admin.findings import Finding, of_disk, of_files, of_log
    from outlast.brokers.sqlite.inspection import look_around

    if place.is_server:
        yield from _server(place, shown)
        return
    if place.file is None:
        yield Finding(
            "store", "error", f"{place.shown} ({place.why}) keeps jobs in one process only", "use sqlite:PATH"
        )
        return
    site = look_around(str(place.file))
    if site.unsafe:
        yield Finding("file system", "error", site.unsafe, "move the file to a local disk")
        return
    if site.durability == "process-crash":
        fix = "fine for tests; else move the file to a disk"
        yield Finding("file system", "warning", "in memory (tmpfs): jobs do not survive a reboot", fix)
    else:
        yield Finding("file system", "ok", f"an accepted job survives: {site.durability}")
    yield of_disk(site.free)
    if not site.exists:
        fix = "enqueue a first job, or name the right one with --url, --app or OUTLAST_URL"
        yield Finding("store", "error", f"no store at {place.file} ({place.why})", fix)
        return
    yield Finding("store", "ok", f"{place.file} ({place.why})")
    yield from of_files(mode=site.mode, foreign=site.foreign, writable=site.writable, path=site.path)
    yield of_log(site.log_size)
    try:
        yield from _inside(place, integrity=integrity, shown=shown)
    except OutlastError as error:
        yield Finding("file", "error", str(error), "see the message")


def _server(place: StoreAccess, shown: str) -> Iterator[Finding]:
    import asyncio

    from outlast.admin.findings import Finding, of_queue
    from outlast.admin.redis_findings import of_servers
    from outlast.aio.clock import SystemClock

    try:
        from outlast.brokers.redis.inspection import look_at, waiting_kinds
    except ModuleNotFoundError as error:
        yield Finding("store", "error", f"{place.shown} needs a package: {error}", "pip install 'outlast[redis]'")
        return
    try:
        found = asyncio.run(look_at(place.settings.url))
        yield Finding("store", "ok", f"{place.shown} ({place.why})")
        yield from of_servers(found, spool=bool(place.settings.spool))
        stats = ask(place, lambda store: store.broker.stats(()))
        for name, each in sorted(stats.items()):
            yield from of_queue(name, each)
        yield from _schedules(place, SystemClock().time())
        if place.app is not None:
            kinds = asyncio.run(waiting_kinds(place.settings.url, SystemClock(), stats))
            yield from _declarations(place.app, kinds, stats, shown)
    except OutlastError as error:
        yield Finding("store", "error", str(error), "see the message")


def _inside(place: StoreAccess, *, integrity: bool, shown: str) -> Iterator[Finding]:
    from outlast.admin.findings import Finding, of_clock, of_holders, of_queue
    from outlast.aio.clock import SystemClock
    from outlast.brokers.sqlite.inspection import examine, waiting_kinds

    clock = SystemClock()
    contents = examine(str(place.file), clock, whole=integrity)
    if contents.faults:
        fix = "stop all processes, keep the file and its -wal, restore a backup, or recover with sqlite3's .recover"
        yield Finding("integrity", "error", "; ".join(contents.faults), fix)
        return
    yield Finding("integrity", "ok", "every page is sound" if integrity else "opens; its pages were not checked")
    if contents.journal_mode == "wal":
        yield Finding("journal", "ok", f"wal, schema {contents.schema}")
    else:
        fix = "start a worker: it sets the mode; and keep other tools from changing it"
        yield Finding("journal", "error", f"journal_mode is {contents.journal_mode}, not wal", fix)
    yield of_clock(contents.newest, clock.time())
    stats = ask(place, lambda store: store.broker.stats(()))
    consumed = any(each.consumers for each in stats.values())
    yield from of_holders(contents.stale, consumed=consumed)
    for name, found in sorted(stats.items()):
        yield from of_queue(name, found)
    yield from _schedules(place, clock.time())
    if place.app is not None:
        yield from _declarations(place.app, waiting_kinds(str(place.file)), stats, shown)


def _schedules(place: StoreAccess, now: float) -> Iterator[Finding]:
    from outlast.admin.findings import of_schedule
    from outlast.core.ticking import orphaned

    records = ask(place, lambda store: store.schedules.schedules())
    if not records:
        return
    from outlast.scheduler.words import overdue

    for record in records:
        error, since = record.error, None
        try:
            since = overdue(record, now)
        except ConfigurationError as failure:
            error = error or str(failure)
        due_since = None if since is None else now - since
        orphan = orphaned(record, now)
        yield of_schedule(
            record.name, error=error, orphan=orphan, paused=record.paused, due_since=due_since, app=record.app
        )


def _declarations(
    app: Outlast, waiting: Mapping[tuple[str, str], int], stats: Mapping[str, QueueStats], shown: str
) -> Iterator[Finding]:
    from outlast.admin.findings import of_declarations

    registry = app.registry
    yield from of_declarations(
        waiting,
        declared_kinds={kind: each.queue for kind, each in registry.kinds.items()},
        declared_queues=registry.queues,
        stats=stats,
        app=shown,
    )
