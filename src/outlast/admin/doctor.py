"""Examines this machine, a store and an app's declarations; the findings are in the order of the causes."""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from outlast.admin.access import StoreAccess, claims_of, open_existing
from outlast.admin.bulk import matching
from outlast.admin.exchanges import undeclared_of, workers_of
from outlast.admin.findings import (
    of_bindings,
    of_declarations,
    of_guard,
    of_holders,
    of_limits,
    of_no_worker,
    of_queue,
    of_schedule,
    of_spool,
    of_toolkit,
    of_unreadable,
    of_unrunnable,
    of_variables,
)
from outlast.admin.guards import guards_of, waits_of_queues
from outlast.aio.clock import SystemClock
from outlast.brokers.kind import Inspection
from outlast.brokers.registry import bridge_findings, library_findings
from outlast.core.decide import KIND_MISSING, UNRUNNABLE
from outlast.core.errors import ConfigurationError, OutlastError
from outlast.core.exchanges.values import Bindings
from outlast.core.findings import Finding
from outlast.core.schedule import ScheduleRecord
from outlast.core.store.records import Query, Records
from outlast.core.ticking import orphaned
from outlast.core.unreadable import UNREADABLE
from outlast.core.urls import redact_url
from outlast.enqueue.spool_file import SpoolFile
from outlast.toolkit.access import Toolkit
from outlast.toolkit.objects.objects import Objects
from outlast.toolkit.stores import missing_file, share_a_server, toolkit_url

if TYPE_CHECKING:
    from outlast.app import Outlast
    from outlast.core.topology import Topology

__all__ = ["examine"]

_LOOKED_AT: Final = 2000


async def examine(access: StoreAccess, *, pages: bool = True, app_name: str = "") -> list[Finding]:
    """Return all findings; change nothing. A store that cannot be used is a finding too.

    pages: check all stored data, which reads the whole store. app_name: the name of `access.app` in the findings.
    """
    found = [*_of_machine(access), *await _of_store(access, pages=pages, app_name=app_name)]
    return [
        *found,
        *await _of_bridge(access),
        *await _of_toolkit(access),
        *await _of_objects(access),
        *_of_spool(access),
    ]


def _of_machine(access: StoreAccess) -> Iterator[Finding]:
    import resource

    yield Finding("python", "ok", ".".join(map(str, sys.version_info[:3])))
    yield from library_findings()
    yield of_limits(resource.getrlimit(resource.RLIMIT_NOFILE)[0])
    app = access.app
    idle = type(access.settings).idle_variables(
        None if app is None else app.name, None if app is None else app.explicit_settings
    )
    yield from of_variables(idle)


async def _of_bridge(access: StoreAccess) -> list[Finding]:
    """Return the findings about the server that routes the events of the app, if there is one."""
    if not access.settings.amqp_url:
        return []
    try:
        return await bridge_findings(access.settings.amqp_url, None if access.app is None else _topology(access.app))
    except ConfigurationError as error:
        return [Finding("amqp_url", "error", str(error), "see the message")]


async def _of_toolkit(access: StoreAccess) -> list[Finding]:
    """Return the findings about the toolkit's store, if the settings name one or the app uses it."""
    settings = access.settings
    if not settings.toolkit_url and (access.app is None or not access.app.uses_toolkit):
        return []
    try:
        url = toolkit_url(settings.toolkit_url, access.url)
        if missing := missing_file(url):
            return [Finding("toolkit", "ok", f"{missing}: made at the first use")]
        toolkit = Toolkit(url, clock=SystemClock(), timeout=settings.toolkit_timeout)
        try:
            await toolkit.check()
        finally:
            await toolkit.close()
        return [of_toolkit(redact_url(url), shared=share_a_server(url, access.url))]
    except OutlastError as error:
        return [Finding("toolkit", "error", str(error), "see the message")]


async def _of_objects(access: StoreAccess) -> list[Finding]:
    """Return the finding about the place of objects, if the settings name one: whether it answers."""
    if not access.settings.objects_url:
        return []
    shown = redact_url(access.settings.objects_url)
    try:
        link = claims_of(access).link
        await Objects(lambda: link).check()
    except OutlastError as error:
        return [Finding("objects", "error", str(error), "see the message")]
    return [Finding("objects", "ok", shown)]


def _topology(app: Outlast) -> Topology | None:
    """Return what an app declares; None if that has an error, which is told elsewhere."""
    try:
        return app.registry.topology()
    except ConfigurationError:
        return None


def _of_spool(access: StoreAccess) -> Iterator[Finding]:
    if not access.settings.spool:
        return
    file = SpoolFile(access.settings.spool)
    if not file.exists():
        yield of_spool(file.path, 0, 0, None)
        return
    try:
        yield of_spool(file.path, *file.count(), next(iter(file.refused(1)), None))
    except OutlastError as error:
        yield Finding("spool", "error", str(error), "see the message")
    finally:
        file.close()


async def _of_store(access: StoreAccess, *, pages: bool, app_name: str) -> list[Finding]:
    spool = bool(access.settings.spool)
    found: list[Finding] = []
    inspection = Inspection(())
    try:
        inspection = await access.kind.inspect(access.url, why=access.why, pages=pages, spool=spool)
        found += inspection.findings
        if inspection.usable:
            await _of_jobs(access, inspection, found, app_name)
        elif access.app is not None and (topology := _topology(access.app)) is not None:
            found += await access.kind.declared_findings(access.url, topology)
    except OutlastError as error:
        found.append(Finding(inspection.subject, "error", str(error), "see the message"))
    return found


async def _of_jobs(access: StoreAccess, inspection: Inspection, found: list[Finding], app_name: str) -> None:
    """Add the findings of queues, schedules and declarations to `found`; an error keeps those found before."""
    async with open_existing(access) as store:
        stats = await store.broker.stats(())
        found += of_holders(inspection.stale, consumed=any(each.consumers for each in stats.values()))
        waits = await waits_of_queues(store, stats)
        known = await store.exchanges.bindings() if store.keeps_exchanges() else Bindings()
        own = () if access.app is None else (access.app.name,)
        apps = {
            each.queue: each.app
            for each in known.bindings
            if each.app not in own and not workers_of(each.app, known, stats)
        }
        for name, each in sorted(stats.items()):
            found += of_queue(name, each, waits.get(name, ""), apps.get(name, ""))
        if store.shares_guards():
            states = guards_of(await store.guards.guards(), stats, {})
            found += [of_guard(each.name, why=each.why, held=each.held) for each in states]
        found += of_unrunnable(*await _unrunnable(store.records))
        unreadable = await store.records.count(Query(states=("dead",), reason=UNREADABLE))
        found += of_unreadable(sum(unreadable.values()))
        if store.keeps_schedules():
            found += map(_of_schedule, await store.schedules.schedules())
    if access.app is None and not any(each.consumers for each in stats.values()):
        found.append(of_no_worker())
    if access.app is not None:
        kinds = await access.kind.waiting_kinds(access.url, SystemClock(), stats)
        registry = access.app.registry
        found += of_declarations(
            kinds, declared_kinds=registry.kinds, declared_queues=registry.queues, stats=stats, app=app_name
        )
        bound: defaultdict[str, set[str]] = defaultdict(set)
        for binding in undeclared_of(known, registry.topology()).bindings:
            bound[binding.exchange].add(binding.queue)
        found += of_bindings(bound, app_name)


async def _unrunnable(records: Records) -> tuple[dict[str, str], int]:
    """Return the last error by kind of waiting jobs that no child process could begin, and how many ended of it.

    Only the newest waiting jobs are read: such a job is tried a few times, and is then dead.
    """
    waiting: dict[str, str] = {}
    left = _LOOKED_AT
    async for record in matching(records, Query(states=("scheduled", "ready"))):
        if record.failures and record.failures[-1].type in UNRUNNABLE:
            waiting.setdefault(record.kind, record.failures[-1].message)
        left -= 1
        if not left:
            break
    dead = await records.count(Query(states=("dead",), reason=KIND_MISSING))
    return waiting, sum(dead.values())


def _of_schedule(record: ScheduleRecord) -> Finding:
    from outlast.scheduler.words import overdue

    now = SystemClock().time()
    error, since = record.error, None
    try:
        since = overdue(record, now)
    except ConfigurationError as failure:
        error = error or str(failure)
    return of_schedule(
        record.name,
        error=error,
        orphan=orphaned(record, now),
        paused=record.paused,
        due_since=None if since is None else now - since,
        app=record.app,
    )
