"""The checks of the doctor: pure functions from plain values to findings."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Final

from outlast.core.findings import Finding, Severity
from outlast.core.guards.record import Held
from outlast.core.kinds import name_of, version_of
from outlast.core.store.broker import QueueStats
from outlast.core.text import counted, duration, short

__all__ = [
    "of_bindings",
    "of_declarations",
    "of_guard",
    "of_holders",
    "of_limits",
    "of_no_worker",
    "of_queue",
    "of_schedule",
    "of_spool",
    "of_toolkit",
    "of_unreadable",
    "of_unrunnable",
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
    """Judge workers whose lease has expired while they hold running jobs."""
    for label, jobs in stale:
        text = f"worker {label} lost its lease with {counted(jobs, 'job')} running"
        if consumed:
            yield Finding("workers", "warning", text, "nothing to do: the next claim of a live worker takes them over")
        else:
            yield Finding("workers", "error", text, "start a worker: its first claim takes them over")


def of_unreadable(jobs: int) -> Iterator[Finding]:
    """Tell of jobs that were set aside because they could not be read."""
    if jobs:
        text = f"{counted(jobs, 'job')} could not be read and {'is' if jobs == 1 else 'are'} dead"
        fix = "see them with outlast dead reason:unreadable; replace arguments with outlast jobs edit --args, or purge"
        yield Finding("records", "warning", text, fix)


def of_no_worker() -> Finding:
    """Judge a store that no worker uses; what an app's own queues lack, `of_declarations` tells."""
    fix = "start one: outlast worker module:name; with --app module:name, doctor also compares the code with the store"
    return Finding("workers", "warning", "no worker is running", fix)


def of_queue(name: str, stats: QueueStats, waits_for: str = "", bound_by: str = "") -> Iterator[Finding]:
    """Return the problems of one queue, or one finding that it has none.

    waits_for: guards that hold its jobs up. bound_by: the app that has bound it to an exchange.
    """
    check = f"queue {name}"
    problems = _queue_problems(name, stats, waits_for, bound_by)
    found = [Finding(check, severity, text, fix) for severity, text, fix in problems]
    text = f"{counted(stats.depth, 'job')}, {counted(stats.consumers, 'worker')}"
    yield from found or [Finding(check, "ok", f"{text}, {waits_for}" if waits_for else text)]


def of_guard(name: str, *, why: str, held: Held) -> Finding:
    """Tell the state of a guard. why: in words, "" for closed. An open one is no problem here: it does what it must."""
    check = f"guard {name}"
    if held == "open":
        text, fix = f"{why}: no call is made, and its queues wait", f"outlast guards reset {name}"
        return Finding(check, "warning", text, fix)
    if held == "closed":
        text = "held closed by an operator: every call is made, whatever comes of it"
        return Finding(check, "warning", text, f"outlast guards reset {name}")
    return Finding(check, "ok", why or "closed")


def _queue_problems(name: str, stats: QueueStats, waits_for: str, bound_by: str) -> Iterator[tuple[Severity, str, str]]:
    waiting = stats.ready + stats.scheduled + stats.parked
    held = stats.depth - stats.running - waiting - stats.successors
    if held > 0:
        fix = f"repeat that outlast move: outlast jobs list queue:{name} state:waiting shows its target"
        yield "warning", f"{counted(held, 'job')} held by a move that has not ended", fix
    if stats.paused and waiting:
        yield "warning", f"paused with {counted(waiting, 'job')} waiting", f"outlast queues resume {name}"
    elif waiting and not stats.consumers:
        fix = (
            f"start a worker that declares it, or outlast jobs purge --queue {name}; if one runs, it uses another "
            "store: set OUTLAST_URL to the same absolute path or server for both"
        )
        if bound_by:
            fix += (
                f"; events still come: if app {bound_by!r} is gone, first outlast topology prune --retired {bound_by}"
            )
        yield "error", f"{counted(waiting, 'job')} waiting and no worker consumes it", fix
    elif stats.oldest > OLD and stats.ready and not waits_for:
        text = f"the first job has waited for {duration(stats.oldest)}, {stats.ready} are ready"
        if stats.forecast.ends is not None:
            text += f", empty {stats.forecast.told()}"
        fix = "more --processes or --concurrency, or find slow jobs: outlast jobs list --state running"
        yield "warning", text, fix
    elif stats.ready and stats.forecast.growth and not waits_for:
        fix = "more --processes or --concurrency, or a bound on the queue that refuses jobs: max_depth= or max_wait="
        yield "warning", f"{stats.ready} are ready, and it is never empty: {stats.forecast.why}", fix
    if stats.max_depth is not None and stats.depth >= stats.max_depth:
        full = f"full: {stats.depth} of {stats.max_depth}"
        if waits_for and stats.consumers:
            fix = "nothing here: it drains when the guard lets its jobs go; a larger max_depth takes more until then"
            yield "warning", f"{full}, {waits_for}", fix
        else:
            yield "error", full, "more workers, or a larger max_depth"
    if stats.parked:
        fix = f"deploy the code that declares it: outlast jobs list --queue {name} --state parked"
        yield "warning", f"{counted(stats.parked, 'job')} parked: no worker declares the kind", fix
    if stats.dead:
        fix = f"outlast dead list --queue {name}; then outlast dead redrive --all --queue {name}"
        yield "warning", counted(stats.dead, "dead letter"), fix


def of_unrunnable(waiting: Mapping[str, str], dead: int) -> Iterator[Finding]:
    """Judge jobs that no child process could begin. waiting: the last error by kind. dead: jobs that ended of it."""
    for kind, error in sorted(waiting.items()):
        fix = "correct what it names, and restart the worker: the jobs are tried again by themselves"
        yield Finding("child processes", "error", f"jobs of kind {kind!r} cannot run: {error}", fix)
    if dead:
        text = f"{counted(dead, 'job')} dead: their child processes did not know the kind"
        fix = "outlast dead list reason:kind-missing names the modules; then outlast dead redrive reason:kind-missing"
        yield Finding("child processes", "error", text, fix)


def of_toolkit(shown: str, *, shared: bool) -> Finding:
    """Judge the store of the toolkit. shared: it is on the Redis server of the jobs."""
    if not shared:
        return Finding("toolkit", "ok", shown)
    text = f"{shown} is the server of the jobs: a cache that fills its memory stops the jobs too"
    return Finding("toolkit", "warning", text, "set OUTLAST_TOOLKIT_URL to another Redis server")


def of_spool(path: str, waiting: int, refused: int, example: tuple[str, str] | None) -> Finding:
    """Judge a spool. waiting, refused: its jobs; example: id and reason of a refused one."""
    text = f"{path}: {counted(waiting, 'job')} to relay"
    if example is None:
        return Finding("spool", "ok", text)
    id_, why = example
    fix = (
        "the table refused of this file keeps each with its reason: enqueue again what is still needed, then delete it"
    )
    return Finding("spool", "warning", f"{text}, {refused:,} refused for good, such as {short(id_)}: {short(why)}", fix)


def of_schedule(name: str, *, error: str, orphan: bool, paused: bool, due_since: float | None, app: str) -> Finding:
    """Judge one schedule. due_since: seconds since a tick became due that was not fired."""
    check = f"schedule {name}"
    if error:
        return Finding(check, "error", f"cannot run: {error}", "fix this error; the scheduler tries again every 30 s")
    if orphan:
        fix = f"start a worker of {app}; or, if the code no longer declares it: outlast schedules remove {name}"
        return Finding(check, "error", "no live worker declares it: it does not run", fix)
    if paused:
        return Finding(check, "warning", "paused: it does not fire", f"outlast schedules resume {name}")
    if due_since is not None:
        fix = f"read the workers' logs; outlast schedules show {name}"
        return Finding(check, "error", f"was due {duration(due_since)} ago and has not run", fix)
    return Finding(check, "ok", "runs")


def of_declarations(
    kinds: Mapping[tuple[str, str], int],
    *,
    declared_kinds: Collection[str],
    declared_queues: Iterable[str],
    stats: Mapping[str, QueueStats],
    app: str,
) -> Iterator[Finding]:
    """Compare the waiting jobs, counted by queue and kind, with the declarations of the app."""
    found = [
        _undeclared(kind, f"{counted(number, 'job')} of kind {kind!r} in queue {queue!r}", declared_kinds, app)
        for (queue, kind), number in sorted(kinds.items())
        if kind not in declared_kinds
    ]
    if idle := [name for name in sorted(declared_queues) if name not in stats or not stats[name].consumers]:
        text = f"no worker consumes these queues of {app}: {', '.join(idle)}"
        found.append(Finding("declarations", "warning", text, f"outlast worker {app}, or add them to its --queues"))
    text = f"{app}: every waiting kind is declared, every queue has a worker"
    yield from found or [Finding("declarations", "ok", text)]


def _undeclared(kind: str, jobs: str, declared: Iterable[str], app: str) -> Finding:
    """Judge jobs that the app does not run: of an undeclared kind, or of another version of a declared kind."""
    versions = [version_of(each) for each in declared if name_of(each) == name_of(kind)]
    if not versions:
        fix = "declare it again, give its successor aliases=(...,), or purge these jobs"
        return Finding("declarations", "error", f"{jobs}, and {app} does not declare it", fix)
    if version_of(kind) > max(versions):
        text = f"{jobs} need newer code: {app} runs this kind up to version {max(versions)}"
        return Finding("declarations", "warning", text, "deploy the code that declares it, or purge these jobs")
    fix = f"give the job upgrades= from version {version_of(kind)} on, or purge these jobs"
    return Finding("declarations", "error", f"{jobs}, and {app} has no upgrade from that version", fix)


def of_bindings(queues: Mapping[str, Collection[str]], app: str) -> Iterator[Finding]:
    """Judge bindings in the store that the app does not declare any more. queues: those that are bound, by exchange."""
    if queues:
        bound = "; ".join(f"{exchange} to {', '.join(sorted(each))}" for exchange, each in sorted(queues.items()))
        yield Finding(
            "declarations",
            "warning",
            f"bindings that {app} does not declare any more still give events to queues: {bound}",
            f"outlast topology prune --app {app}, when all its processes run this release",
        )


def of_variables(idle: Mapping[str, str]) -> Iterator[Finding]:
    """Judge the environment variables without effect."""
    for name, why in idle.items():
        yield Finding("settings", "warning", f"{name} has no effect: {why}", "correct its name, or unset it")
    if not idle:
        yield Finding("settings", "ok", "no variable without effect")
