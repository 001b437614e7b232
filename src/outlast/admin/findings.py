"""What the doctor can find: each check is a small pure function from plain values to findings."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from outlast.core.findings import Finding
from outlast.core.kinds import name_of, version_of
from outlast.core.store.broker import QueueStats
from outlast.core.text import counted, duration

__all__ = [
    "of_declarations",
    "of_holders",
    "of_limits",
    "of_queue",
    "of_schedule",
    "of_variables",
]

FEW_DESCRIPTORS: Final = 1024
OLD: Final = 300.0


def of_limits(soft: int) -> Finding:
    """Judge `ulimit -n`."""
    text = f"{soft} open files"
    if 0 <= soft < FEW_DESCRIPTORS:
        return Finding("ulimit -n", "warning", text, "ulimit -n 4096 before the start, or LimitNOFILE= in the unit")
    return Finding("ulimit -n", "ok", text if soft >= 0 else "unlimited")


def of_holders(stale: Iterable[tuple[str, int]], *, consumed: bool) -> Iterator[Finding]:
    """Judge workers whose lease has lapsed while jobs still run in their name."""
    for label, jobs in stale:
        text = f"worker {label} is gone and held {counted(jobs, 'job')}"
        if consumed:
            yield Finding("workers", "warning", text, "nothing to do: the next claim of a living worker takes them")
        else:
            yield Finding("workers", "error", text, "start a worker: its first claim takes them")


def of_queue(name: str, stats: QueueStats) -> Iterator[Finding]:
    """Judge one queue."""
    check = f"queue {name}"
    aside = stats.depth - stats.running - stats.ready - stats.scheduled - stats.parked
    waiting = stats.depth - stats.running - aside
    found: list[Finding] = []
    if aside > 0:
        found.append(
            Finding(
                check,
                "warning",
                f"{counted(aside, 'job')} set aside by a move that has not ended",
                f"repeat that outlast move: outlast jobs list queue:{name} state:waiting says where to",
            )
        )
    if stats.paused and waiting:
        found.append(
            Finding(check, "warning", f"paused with {counted(waiting, 'job')} waiting", f"outlast queues resume {name}")
        )
    elif waiting and not stats.consumers:
        found.append(
            Finding(
                check,
                "error",
                f"{counted(waiting, 'job')} waiting and nobody works on it",
                f"start a worker that declares it, or outlast jobs purge --queue {name}",
            )
        )
    elif stats.oldest > OLD and stats.ready:
        found.append(
            Finding(
                check,
                "warning",
                f"the first job has waited for {duration(stats.oldest)}, {stats.ready} are ready",
                "more --processes or --concurrency, or look for slow jobs: outlast jobs list --state running",
            )
        )
    if stats.max_depth is not None and stats.depth >= stats.max_depth:
        found.append(
            Finding(check, "error", f"full: {stats.depth} of {stats.max_depth}", "more workers, or a larger max_depth")
        )
    if stats.parked:
        found.append(
            Finding(
                check,
                "warning",
                f"{counted(stats.parked, 'job')} parked: no worker knows the kind",
                f"deploy the code that declares it: outlast jobs list --queue {name} --state parked",
            )
        )
    if stats.dead:
        found.append(
            Finding(
                check,
                "warning",
                counted(stats.dead, "dead letter"),
                f"outlast dead list --queue {name}; then outlast dead redrive --all --queue {name}",
            )
        )
    yield from found or [Finding(check, "ok", f"{counted(stats.depth, 'job')}, {counted(stats.consumers, 'worker')}")]


def of_schedule(name: str, *, error: str, orphan: bool, paused: bool, due_since: float | None, app: str) -> Finding:
    """Judge one schedule. due_since: seconds since a tick came due that nobody has fired."""
    check = f"schedule {name}"
    if error:
        return Finding(check, "error", f"cannot run: {error}", "mend what it says; it is tried again every 30 s")
    if orphan:
        fix = f"start a worker of {app}; or, if the code no longer has it: outlast schedules remove {name}"
        return Finding(check, "error", "no live worker declares it: it does not run", fix)
    if paused:
        return Finding(check, "warning", "paused: it does not run by itself", f"outlast schedules resume {name}")
    if due_since is not None:
        fix = "look at the workers' logs; outlast schedules show " + name
        return Finding(check, "error", f"was due {duration(due_since)} ago and has not run", fix)
    return Finding(check, "ok", "runs")


def of_declarations(
    kinds: Mapping[tuple[str, str], int],
    *,
    declared_kinds: Mapping[str, str],
    declared_queues: Iterable[str],
    stats: Mapping[str, QueueStats],
    app: str,
) -> Iterator[Finding]:
    """Compare what waits with what the app declares. declared_kinds: the queue of each kind."""
    well = True
    for (queue, kind), number in sorted(kinds.items()):
        if kind not in declared_kinds:
            well = False
            yield _undeclared(
                kind, f"{counted(number, 'job')} of kind {kind!r} in queue {queue!r}", declared_kinds, app
            )
    idle = [name for name in sorted(declared_queues) if name not in stats or not stats[name].consumers]
    if idle:
        well = False
        text = f"nobody works now on what {app} declares: {', '.join(idle)}"
        yield Finding("declarations", "warning", text, f"outlast worker {app}, or add them to its --queues")
    if well:
        yield Finding("declarations", "ok", f"{app}: every kind that waits is declared, every queue has a worker")


def _undeclared(kind: str, jobs: str, declared: Iterable[str], app: str) -> Finding:
    """Judge jobs that the app does not run: of an unknown kind, or of another version of a known one."""
    versions = [version_of(each) for each in declared if name_of(each) == name_of(kind)]
    if not versions:
        fix = "declare it again, give its successor aliases=(...,), or purge them"
        return Finding("declarations", "error", f"{jobs}, and {app} does not declare it", fix)
    if version_of(kind) > max(versions):
        text = f"{jobs} wait for newer code: {app} runs it up to version {max(versions)}"
        return Finding("declarations", "warning", text, "deploy the code that knows the version, or purge them")
    fix = f"give the job upgrades= from version {version_of(kind)} on, or purge them"
    return Finding("declarations", "error", f"{jobs}, and {app} has no upgrade from that version", fix)


def of_variables(idle: Mapping[str, str]) -> Iterator[Finding]:
    """Judge the variables that change nothing."""
    for name, why in idle.items():
        yield Finding("settings", "warning", f"{name} does nothing: {why}", "correct its name, or unset it")
    if not idle:
        yield Finding("settings", "ok", "no variable without effect")
