"""Measure what guards cost beside the libraries for the same policies: the rows of `--only guards`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks import environments
from benchmarks.figures import Measured, Results, Run, cell, number
from benchmarks.processes import BenchError, ask

__all__ = ["NAME", "measured", "section", "versions"]

NAME = "guards"
CALLS = 1_000
PEERS = (
    "tenacity==9.2.1",
    "stamina==26.1.0",
    "purgatory==3.0.1",
    "aiobreaker==1.2.0",
    "pybreaker==1.4.1",
    "interlock-cb==2.8.2",
    "hyx==0.0.2",
)
OURS, BARE, ASYNCIO = "outlast", "bare", "asyncio"
COLUMNS = (OURS, ASYNCIO, *(each.split("==")[0] for each in PEERS))
ROWS = {
    "timeout": "timeout",
    "retry": "retry",
    "breaker": "breaker",
    "bulkhead": "bulkhead",
    "fallback": "fallback",
    "all but the timeout": "retry, breaker, bulkhead and fallback",
    "all": "all five",
    "plain retry": "retry, plain function",
    "plain breaker": "breaker, plain function",
    "plain all but the timeout": "all but the timeout, plain function",
}
TITLES = {OURS: "Outlast", ASYNCIO: "`asyncio.timeout`"}
WINDOWS = frozenset((OURS, "interlock-cb"))
"""The breakers that judge a sliding window; the others count failures one after another, up to the first success."""
ROOT = Path(__file__).resolve().parent.parent


def _python(*, peers: bool) -> str:
    """Return the interpreter of the measurement; make its environment if it is not there."""
    if not peers:
        return sys.executable
    own = tuple(f"{name}=={version(name)}" for name in ("msgspec", "pydantic"))
    return str(environments.make(NAME, (*PEERS, *own)) / "bin" / "python")


def measured(run: Run, *, peers: bool, errors: list[str]) -> Measured:
    """Return the samples by library: one of each turn, with the microseconds that each policy adds to a call."""
    samples: dict[str, list[dict[str, Any]]] = {}
    calls = max(100, int(CALLS * run.part))
    keep = {key: value for key, value in os.environ.items() if not key.startswith(("OUTLAST_", "PYTHON"))}
    env = {**keep, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'src'}"}
    try:
        python = _python(peers=peers)
        command = [python, "-m", "benchmarks.guard_calls", str(calls), *(["peers"] if peers else [])]
        for turn in range(run.pairs):
            for library, figures in ask(command, env).items():
                samples.setdefault(library, []).append(figures)
            print(f"guards, turn {turn + 1} of {run.pairs}", file=sys.stderr, flush=True)
    except (BenchError, subprocess.TimeoutExpired) as error:
        errors.append("guards")  # the text names files of this machine: it is shown, and not kept
        print("FAILED guards", error, file=sys.stderr, flush=True)
    return Measured(run, samples)


def versions(*, peers: bool) -> dict[str, str]:
    """Return the installed versions of the libraries."""
    if not peers:
        return {}
    names = [each.split("==")[0] for each in PEERS]
    code = f"import json, importlib.metadata as m; print(json.dumps({{n: m.version(n) for n in {names!r}}}))"
    done = subprocess.run([_python(peers=True), "-c", code], capture_output=True, text=True, check=True)
    found: dict[str, str] = json.loads(done.stdout)
    return found


# The section of the page

INTRODUCTION = """\
Microseconds of processor time that a policy adds to a call that does nothing and never fails: medians, with the lowest
and the highest. The bare `await` of the call takes {bare} us. "All five" are retry, breaker, bulkhead and fallback
around a timeout. An empty cell is a policy that the library does not have.
"""
METHOD = """\
- Each turn is a process of its own, in which all libraries take turns. A cell of a turn is the lowest of seven loops
  of {calls:,} calls, less the bare call; the loop is asyncio's own. The breakers are closed.
- Outlast is called as `guard.call(f, x)`, and `guard.call_sync(f, x)` for a plain function, without a store. With one,
  the call of a closed guard takes the same path and writes nothing. Its retries have a budget, its breaker also judges
  calls that hang, and any thread may use it. The others are called as their documentation shows, in memory.
- Only Outlast and interlock-cb judge the calls of a sliding window. The breakers of the others count failures in a
  row, which costs less; so do the retries of hyx, which have no budget.
- pybreaker is measured with plain functions only: its `call_async` needs tornado.
"""


def section(results: Results) -> Iterator[str]:
    """Yield the lines of the section, none if guards were not measured."""
    found = results.rows.get(NAME)
    if found is None or not found.samples:
        return
    shown = [library for library in COLUMNS if library in found.samples]
    bare = number(results.middle(BARE, NAME, "call") or 0.0)
    yield from ("## Guards", "", INTRODUCTION.format(bare=bare))
    named = results.versions.get(NAME, {})
    yield (
        "| us a call | "
        + " | ".join(f"{TITLES.get(each, each)} {named.get(each, '')}".strip() for each in shown)
        + " |"
    )
    yield "|---|" + "---|" * len(shown)
    for key, title in ROWS.items():
        cells = [cell(results.values(library, NAME, key)) for library in shown]
        yield f"| {title} | " + " | ".join(cells) + " |"
    yield from ("", "### Targets for guards", "", *_promises(results, shown), "")
    yield from ("### Policies for which a peer costs less", "", *_losses(results, shown), "")
    yield from ("### How guards are measured", "", METHOD.format(calls=max(100, int(CALLS * found.run.part))))


def _promises(results: Results, shown: list[str]) -> Iterator[str]:
    for key, most in (("all", 8.0), ("all but the timeout", 4.0)):
        ours = results.middle(OURS, NAME, key)
        if ours is not None:
            yield _line(f"{ROWS[key]}: at most {most:.0f} us", ours <= most, number(ours))
            if others := _others(results, shown, key):
                fastest = min(others, key=lambda each: others[each])
                figures = f"{number(ours)}; {fastest} {number(others[fastest])}"
                yield _line(f"{ROWS[key]}: not slower than the fastest library", ours <= others[fastest], figures)
    ours, limit = results.middle(OURS, NAME, "timeout"), results.middle(ASYNCIO, NAME, "timeout")
    if ours is not None and limit is not None:
        what = "a timeout costs less than `asyncio.timeout`"
        yield _line(what, ours < limit, f"{number(ours)}; {number(limit)}")
    windows = {each: value for each, value in _others(results, shown, "breaker").items() if each in WINDOWS}
    ours = results.middle(OURS, NAME, "breaker")
    if ours is not None and windows:
        fastest = min(windows, key=lambda each: windows[each])
        figures = f"{number(ours)}; {fastest} {number(windows[fastest])}"
        yield _line("breaker: not slower than the fastest with a window", ours <= windows[fastest], figures)


def _others(results: Results, shown: list[str], key: str) -> dict[str, float]:
    found = {library: results.middle(library, NAME, key) for library in shown if library not in (OURS, ASYNCIO)}
    return {library: value for library, value in found.items() if value is not None}


def _losses(results: Results, shown: list[str]) -> Iterator[str]:
    lines = []
    for key, title in ROWS.items():
        ours = results.middle(OURS, NAME, key)
        better = [
            f"{library} {number(value)}"
            for library, value in _others(results, shown, key).items()
            if ours is not None and value < ours
        ]
        if ours is not None and better:
            lines.append(f"- {title}: Outlast {number(ours)}; {'; '.join(better)}")
    yield from lines or ["In this run no peer is better than Outlast for any policy."]


def _line(what: str, holds: bool, figures: str) -> str:
    return f"- {what}: {'holds' if holds else '**does not hold**'} ({figures})"
