"""From results.json to docs/benchmarks.md: the table, what was promised, what loses where, settings, method."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from benchmarks import promises
from benchmarks.figures import Results, cell, number
from benchmarks.plot import PICTURES
from benchmarks.rows import ROWS, Row
from benchmarks.system import Store, System
from benchmarks.systems import SYSTEMS

__all__ = ["load", "write"]


INTRODUCTION = """\
Outlast beside the floor (claim, run and acknowledge on the same store, and nothing around them) and its peers, in one
run on the same work: a job that does nothing, with `{user_id: int, email: str}`. `make bench` measures and writes this
page; every figure is in `benchmarks/results.json`. Medians, with the lowest and the highest in brackets."""
STORES: dict[Store, str] = {"sqlite": "SQLite", "redis": "Redis"}
OURS: dict[Store, str] = {"sqlite": "outlast", "redis": "outlast-redis"}


def load(path: Path) -> Results:
    """Read results.json, or begin anew."""
    return msgspec.json.decode(path.read_bytes(), type=Results) if path.exists() else Results()


def write(results: Results, out: Path) -> None:
    """Write results.json and docs/benchmarks.md below `out`."""
    for folder in ("benchmarks", "docs/images"):
        (out / folder).mkdir(parents=True, exist_ok=True)
    text = msgspec.json.format(msgspec.json.encode(results), indent=1)
    (out / "benchmarks" / "results.json").write_bytes(text + b"\n")
    (out / "docs" / "benchmarks.md").write_text("\n".join(_page(results)) + "\n")


def _page(results: Results) -> Iterator[str]:
    yield "# Benchmarks"
    yield ""
    yield INTRODUCTION
    yield ""
    for store, title in STORES.items():
        if shown := _shown(results, store):
            yield from (f"## On {title}", "", f"![The main rows as bars](images/{PICTURES[store]})", "")
            yield from _table(results, store, shown)
            yield from _promises(results, store)
            yield from _losses(results, store, shown)
            yield from _settings(results, store, shown)
    yield from _method(results)
    if results.errors:
        yield from ("", "## Not measured", "", *(f"- {error}" for error in results.errors))


def _shown(results: Results, store: Store) -> list[System]:
    measured = {name for row in results.rows.values() for name in row.samples}
    return [system for system in SYSTEMS if system.store == store and system.name in measured]


def _table(results: Results, store: Store, shown: Sequence[System]) -> Iterator[str]:
    yield "| | " + " | ".join(system.title for system in shown) + " |"
    yield "|---|" + "---|" * len(shown)
    for row in ROWS:
        cells = [cell(results.values(system.name, row.measure, row.key)) for system in shown]
        if row.measure == "redis kill":
            cells = [text or _never(results, system) for text, system in zip(cells, shown, strict=True)]
        if row.store == store and any(cells):
            yield f"| {row.title}, {row.unit} | " + " | ".join(cells) + " |"
    yield ""


def _never(results: Results, system: System) -> str:
    waited = results.middle(system.name, "redis kill", "waited")
    return "" if waited is None else f"not within {waited:.0f}"


def _promises(results: Results, store: Store) -> Iterator[str]:
    lines = list(promises.sqlite(results) if store == "sqlite" else promises.redis(results))
    if lines:
        yield from ("### What we hold ourselves to", "", *lines, "")


def _losses(results: Results, store: Store, shown: Sequence[System]) -> Iterator[str]:
    peers = [system for system in shown if system.peer]
    mine = OURS[store]
    if not peers or mine not in {system.name for system in shown}:
        return
    yield from ("### What loses where", "")
    found = False
    for row in ROWS:
        ours = results.middle(mine, row.measure, row.key)
        for peer in peers:
            theirs = results.middle(peer.name, row.measure, row.key)
            if row.store == store and ours is not None and theirs is not None and _better(row, theirs, ours):
                found = True
                yield f"- {row.title}: {peer.title} {number(theirs)}, Outlast {number(ours)} {row.unit}{_unequal(peer)}"
    if not found:
        yield "On this machine and in this run, Outlast loses no row to a peer."
    yield ""


def _better(row: Row, theirs: float, ours: float) -> bool:
    return theirs > ours if row.better == "more" else theirs < ours


def _unequal(peer: System) -> str:
    return " (it does not sync its commits)" if peer.name == "taskito" else ""


def _settings(results: Results, store: Store, shown: Sequence[System]) -> Iterator[str]:
    yield from ("### Settings", "")
    yield "| | versions | settings |" + (" `synchronous` |" if store == "sqlite" else "")
    yield "|---|---|---|" + ("---|" if store == "sqlite" else "")
    for system in shown:
        versions = results.versions.get(system.name, {})
        named = ", ".join(f"{name} {version}" for name, version in versions.items())
        last = f" {system.sync} |" if store == "sqlite" else ""
        yield f"| {system.title} | {named} | {system.settings} |{last}"
    yield ""


METHOD = """\
- Each system runs in its own environment, each measurement on a fresh file on the same disk, or on a new Redis server
  that keeps nothing on disk. Repetitions are interleaved: Outlast, the floor and the peers take turns.
- Enqueue: one producer process, on uvloop where the system's environment has it; the time of the loop only, not of the
  process's start. In bulk: 500 a call, or as the settings say. From coroutines: 50 of them; blocking libraries through
  50 threads. Over HTTP: FastAPI under one uvicorn process, 50 keep-alive connections of another process.
- Drain: the backlog is there, then one worker starts; from the start of the first job to the start of the last,
  noted by the job itself in a mapped file. Every job must have run exactly once, or the measurement fails. Slower
  peers have fewer jobs. CPU: user and system of all the worker's processes in that time, from /proc. Memory: the
  sum of their peaks, so shared pages count in each. On Redis the server's CPU is counted with the worker's.
- Latency: 200 jobs/s from another process to an idle worker; from just before the call to the start of the job. The
  fdatasync of the same disk is probed right after each of Outlast's runs, 4 KiB appended 200 times a second.
- While four drain: one producer, 200 calls a second, on a backlog that outlasts it.
- 1,000,000 waiting: the first 20,000 jobs of three worker starts, in turns with as many of a store that holds just
  those.
- Two worker processes, and one beside: twice the jobs of a drain, from when all are at work to 95% of the jobs. With
  jobs that do nothing, one worker and the server can fill a small machine; so once more with jobs of 1 ms of CPU.
- Memory of a queued job: what `used_memory` grows by with 20,000 jobs, divided by them.
- Killed: one job of 3 s; SIGKILL for all the worker's processes 1 s after it began, a new worker at once, nothing else
  enqueued. All systems at once, each with a server of its own.
- DBOS starts all that waits before any of it has ended, so its drain is flattered: its ends come later."""


def _method(results: Results) -> Iterator[str]:
    runs = {(measured.run.at, measured.run.part): measured.run for measured in results.rows.values()}
    yield "## Method"
    yield ""
    yield METHOD
    yield ""
    for run in sorted(runs.values(), key=lambda each: each.at):
        names = [name for name, measured in results.rows.items() if measured.run == run]
        facts = "; ".join(f"{name}: {value}" for name, value in run.machine.items())
        scaled = "" if run.part == 1 else f", {run.part:g} of the jobs"
        yield f"Measured {run.at} UTC, {run.pairs} pairs{scaled} ({', '.join(names)}). {facts}."
