"""What an examination can find at a Redis server: pure functions from what it says of itself to findings."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from outlast.core.findings import Finding
from outlast.core.text import counted, duration, size

if TYPE_CHECKING:
    from outlast.clients.redis.inspection import ServerReport, ServersReport

__all__ = ["of_servers"]

SLOW: Final = 0.05
NEARLY_FULL: Final = 0.9
FILLING: Final = 0.75


def of_servers(found: ServersReport, *, spool: bool) -> Iterator[Finding]:
    """Judge the servers behind a URL. spool: jobs are kept in a file while they are away."""
    for each in found.masters:
        yield from _of_server(each)
    yield _of_durability(found)
    yield from _of_absence(found, spool=spool)
    if found.round_trip > SLOW:
        text = f"a request takes {found.round_trip * 1000:.0f} ms"
        yield Finding("distance", "warning", text, "run the workers near the server: each batch is one request")


def _of_server(server: ServerReport) -> Iterator[Finding]:
    facts, check = server.facts, f"server {server.name}"
    version = facts.version_shown
    well = True
    if facts.role == "slave":
        well = False
        yield Finding(check, "error", "is a replica: it takes no jobs", "name the master, or use 'redis+sentinel://'")
    if facts.write_error:
        well = False
        yield Finding(check, "error", "could not write to its disk the last time", "see its log, and its disk")
    if facts.policy is not None and facts.policy != "noeviction":
        well = False
        certain = facts.policy.startswith("allkeys") and facts.maxmemory != 0
        yield Finding(
            check,
            "error" if certain else "warning",
            f"maxmemory-policy {facts.policy}: {'a full server removes jobs' if certain else 'that is for caches'}",
            "CONFIG SET maxmemory-policy noeviction (and CONFIG REWRITE); give caches a server of their own",
        )
    if facts.maxmemory and facts.used_memory is not None and facts.used_memory > FILLING * facts.maxmemory:
        well = False
        full = facts.used_memory > NEARLY_FULL * facts.maxmemory
        text = f"uses {size(facts.used_memory)} of its maxmemory of {size(facts.maxmemory)}"
        yield Finding(check, "error" if full else "warning", text, "raise maxmemory, add workers, or bound the queues")
    if well:
        said = f"{'Valkey' if facts.valkey else 'Redis'} {version}" if version else "does not tell its version"
        yield Finding(check, "ok", said)


def _of_durability(found: ServersReport) -> Finding:
    check, level = "durability", found.durability
    if level == "unknown":
        fix = "permit our user +info and +config|get (docs/redis.md), or ask for ?durability=replicated"
        return Finding(check, "warning", "the server does not tell what a job survives there", fix)
    if level == "memory":
        nothing = any(not each.facts.append_only and not each.facts.save for each in found.masters)
        fix = "CONFIG SET appendonly yes (and CONFIG REWRITE)"
        if nothing:
            return Finding(check, "error", "nothing is kept on a disk: a restart loses every job", fix)
        text = "only snapshots are kept: a crash loses all jobs since the last one"
        if all(each.facts.append_only for each in found.masters):
            text, fix = "what it may evict does not survive", "CONFIG SET maxmemory-policy noeviction"
        return Finding(check, "warning", text, fix)
    lost = f"; a power cut may lose the last {duration(found.window)}" if found.window else ""
    return Finding(check, "ok", f"an accepted job survives: {level}{lost}")


def _of_absence(found: ServersReport, *, spool: bool) -> Iterator[Finding]:
    """Judge what happens while a server is away."""
    check = "single point"
    if found.silent:
        yield Finding("cluster", "error", f"{counted(found.silent, 'master')} cannot be reached", "see its log")
    alone = [each.name for each in found.masters if each.facts.replicas == 0]
    if found.kind == "single":
        standby = [each.facts.replicas for each in found.masters if each.facts.replicas]
        if standby:
            text = f"{counted(standby[0], 'replica')}, and the url names one server: nobody follows a failover"
            fix = "run Sentinels, and say 'redis+sentinel://...'"
        else:
            text, fix = "no replica: while it is away nothing runs", "add a replica and Sentinels ('redis+sentinel://')"
        if not spool:
            text, fix = f"{text}, and no job is accepted", f"{fix}; or Settings(spool='outbox.db') keeps new jobs"
        yield Finding(check, "warning", text, fix)
    elif alone:
        yield Finding(check, "warning", f"no replica of {', '.join(alone)} is connected", "add one, or see its log")
    else:
        yield Finding(check, "ok", "each master has a replica")
