"""Examines this machine, a store and an app's declarations; the findings are in the order of the causes."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from outlast.admin.access import StoreAccess, open_existing
from outlast.admin.findings import (
    of_declarations,
    of_holders,
    of_limits,
    of_queue,
    of_schedule,
    of_unreadable,
    of_variables,
)
from outlast.aio.clock import SystemClock
from outlast.brokers.kind import Inspection
from outlast.brokers.registry import library_findings
from outlast.core.errors import ConfigurationError, OutlastError
from outlast.core.findings import Finding
from outlast.core.schedule import ScheduleRecord
from outlast.core.store.records import Query
from outlast.core.ticking import orphaned
from outlast.core.unreadable import UNREADABLE

__all__ = ["examine"]


async def examine(access: StoreAccess, *, pages: bool = True, app_name: str = "") -> list[Finding]:
    """Return all findings; change nothing. A store that cannot be used is a finding too.

    pages: check all stored data, which reads the whole store. app_name: the name of `access.app` in the findings.
    """
    return [*_of_machine(access), *await _of_store(access, pages=pages, app_name=app_name)]


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


async def _of_store(access: StoreAccess, *, pages: bool, app_name: str) -> list[Finding]:
    spool = bool(access.settings.spool)
    found: list[Finding] = []
    inspection = Inspection(())
    try:
        inspection = await access.kind.inspect(access.url, why=access.why, pages=pages, spool=spool)
        found += inspection.findings
        if inspection.usable:
            await _of_jobs(access, inspection, found, app_name)
    except OutlastError as error:
        found.append(Finding(inspection.subject, "error", str(error), "see the message"))
    return found


async def _of_jobs(access: StoreAccess, inspection: Inspection, found: list[Finding], app_name: str) -> None:
    """Add the findings of queues, schedules and declarations to `found`; an error keeps those found before."""
    async with open_existing(access) as store:
        stats = await store.broker.stats(())
        found += of_holders(inspection.stale, consumed=any(each.consumers for each in stats.values()))
        for name, each in sorted(stats.items()):
            found += of_queue(name, each)
        unreadable = await store.records.count(Query(states=("dead",), reason=UNREADABLE))
        found += of_unreadable(sum(unreadable.values()))
        if store.keeps_schedules():
            found += map(_of_schedule, await store.schedules.schedules())
    if access.app is not None:
        kinds = await access.kind.waiting_kinds(access.url, SystemClock(), stats)
        registry = access.app.registry
        found += of_declarations(
            kinds, declared_kinds=registry.kinds, declared_queues=registry.queues, stats=stats, app=app_name
        )


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
