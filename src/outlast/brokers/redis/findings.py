"""The doctor's findings about Redis servers: pure functions of the servers' facts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from outlast.core.findings import Finding
from outlast.core.text import counted, duration, size

if TYPE_CHECKING:
    from outlast.clients.redis.inspection import ServerReport, ServersReport

__all__ = ["of_namespaces", "of_servers"]

SLOW: Final = 0.05
NEARLY_FULL: Final = 0.9
FILLING: Final = 0.75
_NAMED: Final = 20


def of_servers(report: ServersReport, *, spool: bool) -> Iterator[Finding]:
    """Judge the servers of a URL. spool: a file accepts jobs while they are unavailable."""
    for each in report.masters:
        yield from _of_server(each)
    yield _of_durability(report)
    yield from _of_outage(report, spool=spool)
    if report.round_trip > SLOW:
        text = f"a request takes {report.round_trip * 1000:.0f} ms"
        yield Finding("distance", "warning", text, "run the workers near the server: each batch is one request")


def of_namespaces(keys: Sequence[str], own: str) -> Iterator[Finding]:
    """Tell whose jobs are on the server too, where it is shared. keys: the key ":born" of each namespace."""
    others = sorted({key[1:].partition("}")[0] for key in keys} - {own})
    if others:
        more = f" and {len(others) - _NAMED} more" if len(others) > _NAMED else ""
        text = f"this is {own}; on the same server: {', '.join(others[:_NAMED])}{more}"
        yield Finding("namespaces", "ok", text)


def _of_server(server: ServerReport) -> Iterator[Finding]:
    facts, check = server.facts, f"server {server.name}"
    ok = True
    if facts.role == "slave":
        ok = False
        fix = "name the master, or use 'redis+sentinel://'"
        yield Finding(check, "error", "is a replica: it does not accept jobs", fix)
    if facts.write_error:
        ok = False
        yield Finding(check, "error", "could not write to its disk the last time", "see its log, and its disk")
    if facts.policy is not None and facts.policy != "noeviction":
        ok = False
        certain = facts.policy.startswith("allkeys") and facts.maxmemory != 0
        yield Finding(
            check,
            "error" if certain else "warning",
            f"maxmemory-policy {facts.policy}: {'a full server removes jobs' if certain else 'this is for caches'}",
            "CONFIG SET maxmemory-policy noeviction (and CONFIG REWRITE); use a separate server for caches",
        )
    if facts.maxmemory and facts.used_memory is not None and facts.used_memory > FILLING * facts.maxmemory:
        ok = False
        full = facts.used_memory > NEARLY_FULL * facts.maxmemory
        text = f"uses {size(facts.used_memory)} of its maxmemory of {size(facts.maxmemory)}"
        yield Finding(check, "error" if full else "warning", text, "raise maxmemory, add workers, or bound the queues")
    if ok:
        name = "Valkey" if facts.valkey else "Redis"
        text = f"{name} {facts.version_shown}" if facts.version else "does not report its version"
        yield Finding(check, "ok", text)


def _of_durability(report: ServersReport) -> Finding:
    check, level = "durability", report.durability
    if level == "unknown":
        fix = "permit +info and +config|get for the user of the url (docs/redis.md), or set ?durability=replicated"
        return Finding(check, "warning", "the server does not report its durability settings", fix)
    if level == "memory":
        fix = "CONFIG SET appendonly yes (and CONFIG REWRITE)"
        if any(not each.facts.append_only and not each.facts.save for each in report.masters):
            return Finding(check, "error", "nothing is kept on a disk: a restart loses every job", fix)
        text = "only snapshots are kept: a crash loses all jobs since the last one"
        if all(each.facts.append_only for each in report.masters):
            text, fix = "jobs that the server evicts are lost", "CONFIG SET maxmemory-policy noeviction"
        return Finding(check, "warning", text, fix)
    lost = f"; a power cut may lose the last {duration(report.window)}" if report.window else ""
    return Finding(check, "ok", f"an accepted job survives: {level}{lost}")


def _of_outage(report: ServersReport, *, spool: bool) -> Iterator[Finding]:
    """Judge the effect of an unavailable server."""
    check = "single point"
    if report.unreached:
        yield Finding("cluster", "error", f"{counted(report.unreached, 'master')} cannot be reached", "see its log")
    alone = [each.name for each in report.masters if each.facts.replicas == 0]
    if report.kind == "single":
        replicas = next((each.facts.replicas for each in report.masters if each.facts.replicas), 0)
        if replicas:
            text = f"{counted(replicas, 'replica')}, but the url names one server: workers do not follow a failover"
            fix = "run Sentinels, and give 'redis+sentinel://...'"
        else:
            text = "no replica: no job runs while the server is unavailable"
            fix = "add a replica and Sentinels ('redis+sentinel://')"
        if not spool:
            text, fix = f"{text}, and no job is accepted", f"{fix}; or Settings(spool='outbox.db') keeps new jobs"
        yield Finding(check, "warning", text, fix)
    elif alone:
        yield Finding(check, "warning", f"no replica of {', '.join(alone)} is connected", "add one, or see its log")
    else:
        yield Finding(check, "ok", "each master has a replica")
