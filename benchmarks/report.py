"""From results.json to docs/benchmarks.md: the table, what was promised, what loses where, settings, method."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import msgspec

from benchmarks.rows import ROWS, Row
from benchmarks.systems import SYSTEMS, System

__all__ = ["Measured", "Results", "Run", "load", "write"]


class Run(msgspec.Struct, frozen=True):
    """One call of benchmarks.run. part: of the jobs of systems.py; at: UTC."""

    at: str
    pairs: int
    part: float
    machine: dict[str, str]


class Measured(msgspec.Struct, frozen=True):
    """The samples of one measurement, by system, in the order in which they were taken."""

    run: Run
    samples: dict[str, list[dict[str, Any]]]


class Results(msgspec.Struct):
    """All that is kept in results.json."""

    rows: dict[str, Measured] = {}
    versions: dict[str, dict[str, str]] = {}
    errors: list[str] = []

    def values(self, system: str, measure: str, key: str) -> list[float]:
        """Return every value of one cell."""
        measured = self.rows.get(measure)
        samples = measured.samples.get(system, []) if measured else []
        return [float(sample[key]) for sample in samples if key in sample]

    def middle(self, system: str, measure: str, key: str) -> float | None:
        """Return the median of one cell, None if it was not measured."""
        values = self.values(system, measure, key)
        return median(values) if values else None


INTRODUCTION = """\
Outlast beside the floor (claim, run and acknowledge on SQLite, and nothing around them) and its peers on SQLite, in one
run on the same work: a job that does nothing, with `{user_id: int, email: str}`. `make bench` measures and writes this
page; every figure is in `benchmarks/results.json`."""


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


def number(value: float) -> str:
    """Return a figure with about three digits that matter."""
    if value == 0 or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}" if abs(value) >= 0.1 else f"{value:.4f}"


def _cell(values: Sequence[float]) -> str:
    if not values:
        return ""
    if len(values) == 1:
        return number(values[0])
    return f"{number(median(values))} ({number(min(values))}-{number(max(values))})"


def _page(results: Results) -> Iterator[str]:
    yield "# Benchmarks"
    yield ""
    yield INTRODUCTION
    yield ""
    yield "![The main rows as bars](images/bench.svg)"
    yield ""
    yield from _table(results)
    yield from _promises(results)
    yield from _losses(results)
    yield from _settings(results)
    yield from _method(results)
    if results.errors:
        yield from ("", "## Not measured", "", *(f"- {error}" for error in results.errors))


def _shown(results: Results) -> list[System]:
    return [system for system in SYSTEMS if any(system.name in row.samples for row in results.rows.values())]


def _table(results: Results) -> Iterator[str]:
    shown = _shown(results)
    yield "Medians, with the lowest and the highest in brackets."
    yield ""
    yield "| | " + " | ".join(system.title for system in shown) + " |"
    yield "|---|" + "---|" * len(shown)
    for row in ROWS:
        cells = [_cell(results.values(system.name, row.measure, row.key)) for system in shown]
        if any(cells):
            yield f"| {row.title}, {row.unit} | " + " | ".join(cells) + " |"
    yield ""


def _promises(results: Results) -> Iterator[str]:
    lines = list(_checks(results))
    if lines:
        yield "## What we hold ourselves to"
        yield ""
        yield from lines
        yield ""


def _checks(results: Results) -> Iterator[str]:
    def line(what: str, holds: bool, figures: str) -> str:
        return f"- {what}: {'holds' if holds else '**does not hold**'} ({figures})"

    ours, floor = (results.values(name, "drain", "rate") for name in ("outlast", "floor"))
    ratios = [a / b for a, b in zip(ours, floor, strict=False)]
    if ratios:
        what = "drain at least half as fast as the floor with the same retention"
        yield line(what, median(ratios) >= 0.5, f"{_cell(ratios)} over {len(ratios)} interleaved pairs")
    for measure, least, what in (("bulk", 60_000, "in bulk"), ("gather", 15_000, "from 50 coroutines")):
        rate = results.middle("outlast", measure, "rate")
        if rate is not None:
            yield line(f"enqueue {what} at least {least:,} jobs/s", rate >= least, number(rate))
    latency = results.middle("outlast", "latency", "p99")
    if latency is not None:
        syncs = median(sample["fdatasync"]["p99"] for sample in results.rows["latency"].samples["outlast"])
        what = "latency p99 at most twice the fdatasync p99 of the same disk in the same run, and 5 ms"
        yield line(what, latency <= 2 * syncs + 5, f"{number(latency)} ms; fdatasync p99 {number(syncs)} ms")
    few, many = (results.values("outlast", "deep", key) for key in ("few cpu", "many cpu"))
    if few and median(few):
        ratio = median(many) / median(few)
        yield line("CPU a job with 1,000,000 waiting at most 1.1 times that with 20,000", ratio <= 1.1, number(ratio))
    idle, memory = (results.middle("outlast", "idle", key) for key in ("cpu", "rss"))
    if idle is not None and memory is not None:
        figures = f"{number(idle)}% all processes together; {number(memory)} MB the largest"
        yield line("an idle worker: below 1% CPU, below 80 MB a process", idle < 1 and memory < 80, figures)
    start = results.middle("outlast", "import", "ms")
    if start is not None:
        yield line("import and one declared job below 150 ms", start < 150, f"{number(start)} ms")


def _losses(results: Results) -> Iterator[str]:
    peers = [system for system in _shown(results) if not system.ours]
    if not peers or "outlast" not in {system.name for system in _shown(results)}:
        return
    yield "## What loses where"
    yield ""
    found = False
    for row in ROWS:
        ours = results.middle("outlast", row.measure, row.key)
        for peer in peers:
            theirs = results.middle(peer.name, row.measure, row.key)
            if ours is not None and theirs is not None and _better(row, theirs, ours):
                found = True
                yield f"- {row.title}: {peer.title} {number(theirs)}, Outlast {number(ours)} {row.unit}{_unequal(peer)}"
    if not found:
        yield "On this machine and in this run, Outlast loses no row to a peer."
    yield ""


def _better(row: Row, theirs: float, ours: float) -> bool:
    return theirs > ours if row.better == "more" else theirs < ours


def _unequal(peer: System) -> str:
    return " (it does not sync its commits)" if peer.name == "taskito" else ""


def _settings(results: Results) -> Iterator[str]:
    yield "## Settings"
    yield ""
    yield "| | versions | settings | `synchronous` |"
    yield "|---|---|---|---|"
    for system in _shown(results):
        versions = results.versions.get(system.name, {})
        named = ", ".join(f"{name} {version}" for name, version in versions.items())
        yield f"| {system.title} | {named} | {system.settings} | {system.sync} |"
    yield ""


METHOD = """\
- Each system runs in its own virtual environment, each measurement on a fresh file on the same disk. Repetitions
  are interleaved: Outlast, the floor and the peers take turns.
- Enqueue: one producer process; the time of the loop only, not of the process's start. In bulk: 500 a call (DBOS
  100). From coroutines: 50 of them; blocking libraries through 50 threads. Over HTTP: FastAPI under one uvicorn
  process, 50 keep-alive connections of another process.
- Drain: the backlog is there, then one worker starts; from the start of the first job to the start of the last,
  noted by the job itself in a mapped file. Every job must have run exactly once, or the measurement fails. Slower
  peers have fewer jobs. CPU: user and system of all the worker's processes in that time, from /proc. Memory: the
  sum of their peaks, so shared pages count in each.
- Latency: 200 jobs/s from another process to an idle worker; from just before the call to the start of the job. The
  fdatasync of the same disk is probed right after each of Outlast's runs, 4 KiB appended 200 times a second.
- While four drain: one producer, 200 calls a second, on a backlog that outlasts it.
- 1,000,000 waiting: the first 20,000 jobs of three worker starts, in turns with as many of a file that holds just
  those.
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
