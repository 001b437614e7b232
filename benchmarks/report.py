"""Write docs/benchmarks.md from results.json: tables, targets, rows where a peer is better, settings, method."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from benchmarks import guards, promises, toolkit_section
from benchmarks.figures import Results, cell, number
from benchmarks.plot import PICTURES
from benchmarks.rows import ROWS, Row
from benchmarks.system import Store, System
from benchmarks.systems import SYSTEMS

__all__ = ["load", "write"]


INTRODUCTION = """\
This page compares Outlast with its peers and with the floor, in one run and on the same work: a job that does nothing,
with `{user_id: int, email: str}`. The floor is a minimal program that only claims, runs and acknowledges jobs on the
same store. Cells are medians, with the lowest and the highest value in brackets.

`make bench` measures and writes this page. `benchmarks/results.json` has every figure. [Method](#method) says how each
row is measured."""
BEFORE_AFTER = Path(__file__).parent / "before_after.md"
"""The table of `benchmarks.compare --write`: this version beside the one before."""
RABBITMQ_UNDER_LOAD = Path(__file__).parent / "rabbitmq_under_load.md"
"""The drains that were measured beside those of the table, for whoever compares the targets."""
STORES: dict[Store, str] = {"sqlite": "SQLite", "redis": "Redis", "rabbitmq": "RabbitMQ"}
OURS: dict[Store, str] = {"sqlite": "outlast", "redis": "outlast-redis", "rabbitmq": "outlast-rabbitmq"}
JUDGES = {"sqlite": promises.sqlite, "redis": promises.redis, "rabbitmq": promises.rabbitmq}


def load(path: Path) -> Results:
    """Return the results in `path`, empty ones if there is no such file."""
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
            if store == "rabbitmq" and RABBITMQ_UNDER_LOAD.exists():
                yield from (RABBITMQ_UNDER_LOAD.read_text(), "")
            yield from _losses(results, store, shown)
            yield from _settings(results, store, shown)
    yield from guards.section(results)
    yield from toolkit_section.section(results)
    if BEFORE_AFTER.exists():
        yield from ("## Before and after", "", BEFORE_AFTER.read_text())
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
    lines = list(JUDGES[store](results))
    if lines:
        yield from ("### Targets", "", *lines, "")


def _losses(results: Results, store: Store, shown: Sequence[System]) -> Iterator[str]:
    peers = [system for system in shown if system.peer]
    mine = OURS[store]
    if not peers or mine not in {system.name for system in shown}:
        return
    yield from ("### Rows where a peer is better", "")
    found = False
    for row in (each for each in ROWS if each.store == store):
        ours = results.middle(mine, row.measure, row.key)
        values = [(peer, results.middle(peer.name, row.measure, row.key)) for peer in peers]
        better = [
            f"{peer.title} {number(theirs)}{_unequal(peer)}"
            for peer, theirs in values
            if ours is not None and theirs is not None and _better(row, theirs, ours)
        ]
        if ours is not None and better:
            found = True
            yield f"- {row.title}, {row.unit}: Outlast {number(ours)}; {'; '.join(better)}"
    if not found:
        yield "In this run no peer is better than Outlast in any row."
    yield ""


def _better(row: Row, theirs: float, ours: float) -> bool:
    return theirs > ours if row.better == "more" else theirs < ours


def _unequal(peer: System) -> str:
    return " (it does not sync its commits)" if peer.name == "taskito" else ""


def _settings(results: Results, store: Store, shown: Sequence[System]) -> Iterator[str]:
    yield from ("### Settings", "")
    heading = {"sqlite": " `synchronous` |", "rabbitmq": " queue |"}.get(store, "")
    yield "| | versions | settings |" + heading
    yield "|---|---|---|" + ("---|" if heading else "")
    for system in shown:
        versions = results.versions.get(system.name, {})
        named = ", ".join(f"{name} {version}" for name, version in versions.items())
        last = f" {system.sync} |" if heading else ""
        yield f"| {system.title} | {named} | {system.settings} |{last}"
    yield ""


METHOD = """\
- **Environment.** Each system runs in its own environment. Each measurement uses a new file on the same disk, a new
  Redis server that keeps nothing on disk, or a new virtual host of one RabbitMQ node. Repetitions are interleaved:
  Outlast, the floor and the peers take turns.
- **Other work.** Where the machine did other work meanwhile (its load is told below), rates and latencies spread.
  The ratios of interleaved pairs and the CPU of a job say more then.
- **Enqueue.** One producer process, on uvloop if the system's environment has it. The time is that of the loop of
  calls, without the start of the process. In bulk: 500 a call, or as the settings say. From coroutines: 50 of them;
  blocking libraries use 50 threads. Over HTTP: FastAPI under one uvicorn process, 50 keep-alive connections from
  another process.
- **Drain.** The jobs wait before the worker starts. The time is from the start of the first job to the start of the
  last, which the job itself notes in a mapped file. If a job did not run exactly once, the measurement fails. Slower
  peers get fewer jobs. CPU: user and system time of all processes of the worker in that time, from /proc. Memory: the
  sum of their peaks, so shared pages count in each process. On Redis and RabbitMQ the CPU of the servers is included.
- **Latency.** 200 jobs/s from another process to an idle worker, from just before the call to the start of the job.
  The fdatasync of the same disk is measured right after each run of Outlast: 4 KiB appended 200 times a second.
- **While four drain.** One producer makes 200 calls a second, on a backlog that outlasts it.
- **1,000,000 waiting.** The first 20,000 jobs of three worker starts, in turns with the same number of jobs of a store
  that holds only 20,000.
- **Two worker processes.** Twice the jobs of a drain, by one worker process and then by two, from the time when all
  of them run to 95% of the jobs. With jobs that do nothing, one worker and the server can use all of a small machine,
  so this is measured again with jobs of 1 ms of CPU.
- **Memory of a queued job.** The growth of `used_memory` with 20,000 jobs, divided by 20,000.
- **Killed.** One job of 3 s. All processes of the worker get SIGKILL 1 s after its start. A new worker starts at once,
  and nothing else is enqueued. All systems run at the same time, each with its own server.
- **DBOS** starts all waiting jobs before any of them has ended. So its drain looks better than it is: its ends come
  later.

Each run, with its machine:
"""


def _method(results: Results) -> Iterator[str]:
    runs = {(measured.run.at, measured.run.part): measured.run for measured in results.rows.values()}
    yield "## Method"
    yield ""
    yield METHOD
    for run in sorted(runs.values(), key=lambda each: each.at):
        names = [name for name, measured in results.rows.items() if measured.run == run]
        facts = "; ".join(f"{name}: {value}" for name, value in run.machine.items())
        scaled = "" if run.part == 1 else f", {run.part:g} of the jobs"
        yield f"- {run.at} UTC, {run.pairs} pairs{scaled} ({', '.join(names)}). {facts}."
