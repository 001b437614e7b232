"""The section of the toolkit on the page of the benchmarks: a table for each piece, targets, and who costs less."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import median

from benchmarks.figures import Results, cell, number
from benchmarks.toolkit import MISSES, NAME, PROCESSES, SECONDS
from benchmarks.toolkit_calls import ALONE, TOGETHER
from benchmarks.toolkit_systems import OURS, PIECES, TOOLKITS

__all__ = ["section"]

TITLES = {"cache": "Cache", "limiter": "Rate limiter", "lock": "Lock", "session": "Session"}
ROWS: dict[str, dict[str, str]] = {
    "cache": {
        "hit": "hit",
        "miss": "miss",
        "guarded miss": "miss that others join",
        "near hit": "hit of a copy in the process",
        "memory hit": "hit in memory",
        "file hit": "hit in an SQLite file",
        "file miss": "miss in an SQLite file",
    },
    "limiter": {
        "decision": "decision",
        "sliding decision": "decision, sliding window",
        "added to a request": "added to a request",
    },
    "lock": {"lock": "acquire and release"},
    "session": {"added by a read": "added to a request that reads", "added by a write": "added to one that writes"},
}
ADDED = {
    "added to a request": "limited request",
    "added by a read": "session read",
    "added by a write": "session write",
}
"""What a middleware adds: these requests, less the same route without it."""
PATHS = {
    "cache": ("hit", "cashews"),
    "limiter": ("decision", "limits"),
    "lock": ("lock", "redis-py"),
    "session": ("added by a read", "starsessions"),
}
"""The common path of each piece, and the library that it must not be slower than."""
INTRODUCTION = """\
Microseconds of a call on one Redis server ({server}), on asyncio's own loop: medians of {turns} turns, with the lowest
and the highest. CPU is that of the client's process, or of the server, with {together} calls at a time where the row
has them. An empty cell is a call that the library does not have. `make bench BENCH="--only toolkit"` measures this part
alone.
"""
METHOD = """\
- The libraries take turns. A turn of a library is a process in an environment of its own, on a server of its own that
  is empty and keeps nothing on disk: the calls of each case for {seconds:g} s one at a time, then {together} at a time.
  All use hiredis. The value is a small dict, kept as JSON (by cashews with pickle, its default).
- **Hit, miss.** A decorated function whose source does nothing. Hits are of {keys} keys in turn. "Miss that others
  join" is what a library has against a stampede: cashews' `lock=True`, aiocache's `cached_stampede`. Outlast always
  joins, so both rows have the same call. fastapi-redis-sdk is measured by its `CacheBackend`, without a request. The
  copy is that of `near=`, and of cashews' `client_side=True`.
- **Stampede.** {misses:,} calls in {processes} processes miss one key at once, on connections that stand; the source
  takes 50 ms. The time is that of the last caller, the number is how often the source was asked.
- **Decision.** One rule, never reached, of 1,000 keys in turn. Outlast decides by GCRA, limits by a fixed window over
  redis-py (its `implementation="redispy"`, which was faster than its coredis), pyrate-limiter by its log. In the next
  row limits uses its moving window. "Added to a request" is a request through a middleware, without a server, less the
  same route of Starlette alone.
- **Lock.** A free lock is taken and given back. Those of redis-py and pottery last for a fixed time, and bear no
  token. portalocker has threads only, and its lock is a subscription.
- **Session.** 256 clients send requests in turn through the middleware, less the same route of Starlette alone. Both
  use `rolling` (idle) ends. starsessions stores the whole session at each request that has loaded it.
"""


def section(results: Results) -> Iterator[str]:
    """Yield the lines of the section, none if the toolkit was not measured."""
    found = results.rows.get(NAME)
    if found is None or not found.samples.get(OURS):
        return
    figures = _Figures(results)
    named = results.versions.get(NAME, {})
    server = f"redis-server {named.get('redis-server', '')}".strip()
    yield from ("## Toolkit", "", INTRODUCTION.format(server=server, turns=found.run.pairs, together=TOGETHER))
    for piece in PIECES:
        shown = figures.systems(piece)
        yield from (f"### {TITLES[piece]}", "")
        yield f"| us a call | {' | '.join(_title(each, named) for each in shown)} |"
        yield "|---|" + "---|" * len(shown)
        yield from _table(figures, piece, shown)
        yield ""
    yield from ("### Targets for the toolkit", "", *_targets(figures), "")
    yield from ("### Calls for which a library costs less", "", *_losses(figures), "")
    method = METHOD.format(
        seconds=SECONDS * min(1.0, found.run.part), together=TOGETHER, keys=64, misses=MISSES, processes=PROCESSES
    )
    yield from ("### How the toolkit is measured", "", method)


class _Figures:
    """The values of the cells, in the order of the turns."""

    def __init__(self, results: Results) -> None:
        self._results = results

    def systems(self, piece: str) -> list[str]:
        """Return the libraries of a piece that were measured, ours first."""
        measured = self._results.rows[NAME].samples
        return [each.name for each in TOOLKITS if piece in each.pieces and measured.get(each.name)]

    def values(self, system: str, key: str) -> list[float]:
        """Return the values of a cell."""
        case, _, rest = key.partition(",")
        if case in ADDED:
            whole = self._results.values(system, NAME, f"{ADDED[case]},{rest}")
            bare = self._results.values(system, NAME, f"bare request,{rest}")
            return [each - less for each, less in zip(whole, bare, strict=False)]
        return self._results.values(system, NAME, key)

    def middle(self, system: str, key: str) -> float | None:
        """Return the median of a cell, None if it is empty."""
        values = self.values(system, key)
        return median(values) if values else None

    def others(self, piece: str, key: str) -> dict[str, float]:
        """Return the medians of the other libraries."""
        found = {each: self.middle(each, key) for each in self.systems(piece) if each != OURS}
        return {each: value for each, value in found.items() if value is not None}


def _title(system: str, named: dict[str, str]) -> str:
    return "Outlast" if system == OURS else f"{system} {named.get(system, named.get('redis', ''))}".strip()


def _table(figures: _Figures, piece: str, shown: Sequence[str]) -> Iterator[str]:
    for case, title in ROWS[piece].items():
        for key, which in _keys(case):
            cells = [cell(figures.values(system, key)) for system in shown]
            if any(cells):
                yield f"| {title}{which} | {' | '.join(cells)} |"
    if piece == "cache":
        yield f"| stampede: computations | {' | '.join(_counts(figures, each) for each in shown)} |"
        times = (cell([value * 1000 for value in figures.values(each, "stampede, seconds")]) for each in shown)
        yield f"| stampede: ms until all have the value | {' | '.join(times)} |"


def _keys(case: str) -> list[tuple[str, str]]:
    if case in ALONE:
        return [(f"{case}, 1", ""), (f"{case}, 1, cpu", ", CPU")]
    return [
        (f"{case}, 1", ""),
        (f"{case}, {TOGETHER}", f", {TOGETHER} at a time"),
        (f"{case}, {TOGETHER}, cpu", ", CPU"),
        *(() if case == "file miss" else [(f"{case}, {TOGETHER}, server", ", CPU of the server")]),
    ]


def _counts(figures: _Figures, system: str) -> str:
    if waited := figures.middle(system, "stampede, waited"):
        return f"not within {waited:.0f} s"
    failed = figures.middle(system, "stampede, failed")
    return cell(figures.values(system, "stampede, computed")) + (f", {number(failed)} calls failed" if failed else "")


def _targets(figures: _Figures) -> Iterator[str]:
    for case, title, most in (
        ("near hit, 1", "a hit of a copy in the process", 2.0),
        ("file hit, 1", "a hit in an SQLite file", 30.0),
    ):
        ours = figures.middle(OURS, case)
        if ours is not None:
            yield _line(f"{title}: at most {most:.0f} us", ours <= most, number(ours))
    for piece, (case, peer) in PATHS.items():
        for together in (1, TOGETHER):
            yield from _against(
                figures, piece, f"{case}, {together}", peer, f"{ROWS[piece][case]}, {together} at a time"
            )


def _against(figures: _Figures, piece: str, key: str, peer: str, title: str) -> Iterator[str]:
    ours, theirs = figures.values(OURS, key), figures.values(peer, key)
    others = figures.others(piece, key)
    if not ours or not theirs:
        return
    ratios = [mine / other for mine, other in zip(ours, theirs, strict=False)]
    told = f"{number(median(ours))} us; {peer} {number(median(theirs))}; ratio of the turns {cell(ratios)}"
    yield _line(f"{title}: not slower than {peer}", median(ratios) <= 1, told)
    slower = sorted(others, key=lambda each: others[each])[len(others) // 2 :]
    fastest = others[slower[0]]
    what = f"{title}: faster than the slower half ({', '.join(slower)})"
    yield _line(what, median(ours) < fastest, f"{number(median(ours))}; {number(fastest)}")


def _losses(figures: _Figures) -> Iterator[str]:
    lines = []
    for piece in PIECES:
        for case, title in ROWS[piece].items():
            for key, which in _keys(case):
                ours = figures.middle(OURS, key)
                better = [
                    f"{each} {number(value)}"
                    for each, value in figures.others(piece, key).items()
                    if ours is not None and value < ours
                ]
                if ours is not None and better:
                    lines.append(f"- {title}{which}: Outlast {number(ours)}; {'; '.join(better)}")
    yield from lines or ["In this run no library is better than Outlast for any call."]


def _line(what: str, holds: bool, figures: str) -> str:
    return f"- {what}: {'holds' if holds else '**does not hold**'} ({figures})"
