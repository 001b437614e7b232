"""Compare this checkout with another one, in interleaved pairs: `python -m benchmarks.compare CHECKOUT --pairs 9`.

CHECKOUT is a work tree of an older commit (`git worktree add CHECKOUT COMMIT`). Both run in this environment, with one
worker process and the defaults. Prints, for each shape and store, the medians and the median and spread of the ratios,
pair by pair, of jobs a second and of CPU seconds per 1,000 jobs (the Redis server's included); of `beside`, how long an
enqueue takes beside 1, 2 and 4 worker processes that drain, with the drain's rate. `--write` puts the table on the page
of the benchmarks (benchmarks/before_after.md, which `benchmarks.report` includes). `--needs`: "after", the queue needs
a guard, which is closed; with `.` as the CHECKOUT, that is all they differ in.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median

from benchmarks import environments
from benchmarks.measure import Bench, Figures, Scale
from benchmarks.measure_redis import RedisBench
from benchmarks.systems import SYSTEMS

__all__ = ["main"]

ROOT = Path(__file__).resolve().parent.parent
SHAPES = ("drain", "gather", "bulk", "single", "beside-1", "beside-2", "beside-4")
"""A backlog drained, enqueued from 50 coroutines, in batches of 500, one by one; one by one beside so many workers."""
KEYS = {
    "rate": "jobs/s",
    "cpu": "CPU s per 1,000",
    "p50": "enqueue p50, ms",
    "p99": "enqueue p99, ms",
    "rss": "peak MB",
}
PAGE = ROOT / "benchmarks" / "before_after.md"
NAMES = {"sqlite": "outlast", "redis": "outlast-redis"}


def bench(store: str, name: str, source: Path, folder: Path, scale: Scale, *, needs: bool = False) -> Bench:
    """Return what measures the code in `source` on a kind of store. needs: the queue needs a guard."""
    system = next(each for each in SYSTEMS if each.name == NAMES[store])
    system = replace(system, name=name, env={**system.env, "PYTHONPATH": f"{source}:{ROOT}"})
    if needs:
        system = replace(system, env={**system.env, "BENCH_NEEDS": "1"})
    return (RedisBench if store == "redis" else Bench)(system, folder / store, scale)


def measured(each: Bench, shape: str) -> Figures:
    """Return the rate and the CPU of one shape."""
    if shape == "drain":
        return each.drain()
    if shape.startswith("beside-"):
        return each.busy(int(shape.removeprefix("beside-")))
    figures = getattr(each, shape)()
    served = each.server_cpu() / figures["jobs"] * 1000
    return {**figures, "cpu": figures["cpu"] + served}


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.compare", description=__doc__)
    parser.add_argument("checkout", type=Path, help="the older work tree")
    parser.add_argument("--pairs", type=int, default=9)
    parser.add_argument("--part", type=float, default=1.0, help="of the usual number of jobs")
    parser.add_argument("--stores", default=",".join(NAMES))
    parser.add_argument("--write", action="store_true", help="put the table on the page of the benchmarks")
    parser.add_argument("--needs", action="store_true", help="the queue needs a guard after, and does not before")
    parser.add_argument("--shapes", default=",".join(SHAPES[:3]), help=f"of {', '.join(SHAPES)}")
    options = parser.parse_args(argv)
    environments.HOME.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="compare-", dir=environments.HOME))
    rows: list[str] = []
    try:
        for store in options.stores.split(","):
            scale = Scale(options.part)
            before = bench(store, "before", options.checkout.resolve() / "src", folder, scale)
            after = bench(store, "after", ROOT / "src", folder, scale, needs=options.needs)
            for shape in options.shapes.split(","):
                found: dict[str, list[Figures]] = {"before": [], "after": []}
                for pair in range(options.pairs):
                    sides = [("before", before), ("after", after)]
                    for name, side in sides if pair % 2 == 0 else sides[::-1]:
                        figures = measured(side, shape)
                        found[name].append(figures)
                        said = ", ".join(f"{key} {figures[key]:,.4g}" for key in KEYS if key in figures)
                        print(store, shape, pair, name, said, file=sys.stderr, flush=True)
                rows += _rows(store, shape, found)
            before.release()
            after.release()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    pairs = f"Medians of {options.pairs} interleaved pairs; ratios pair by pair, with their spread."
    text = "\n".join((pairs, "", "| store, shape | figure | before | after | ratio |", "|---|---|---|---|---|", *rows))
    print(text)
    if options.write:
        PAGE.write_text(f"{text}\n")
    return 0


def _rows(store: str, shape: str, found: dict[str, list[Figures]]) -> Iterator[str]:
    for key, title in KEYS.items():
        if any(key not in each for each in found["before"]):
            continue
        each = [new[key] / old[key] for old, new in zip(found["before"], found["after"], strict=True)]
        before, after = (median(figures[key] for figures in found[name]) for name in ("before", "after"))
        ratio = f"{median(each):.2f} ({min(each):.2f}-{max(each):.2f})"
        yield f"| {store}, {shape} | {title} | {before:,.4g} | {after:,.4g} | {ratio} |"


if __name__ == "__main__":
    sys.exit(main())
