"""What selection costs: CPU per 1,000 jobs of each shape beside a plain queue, in interleaved pairs, by one worker.

`python -m benchmarks.selection --pairs 5 --foundation CHECKOUT`: the last is a work tree of an older commit, with whose
plain queue ours is compared in the same pairs (`git worktree add CHECKOUT 61b309c`). Prints a table; writes nothing.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from benchmarks import environments, measure
from benchmarks.outlast_shapes import SHAPES
from benchmarks.system import System

__all__ = ["main"]

ROOT = Path(__file__).resolve().parent.parent
MOST = {"plain": 1.03, "ageing": 1.3, "keys-10": 1.5, "keys-100k": 2.0, "held-1k": 2.5}
"""What each may cost of a plain queue's CPU, and that of the foundation's."""


def system(name: str, source: Path | None = None) -> System:
    """Return a shape as a system; source: the `src` folder of another checkout."""
    env = {"BENCH_SHAPE": name if name in SHAPES else "plain"}
    if source is not None:
        env["PYTHONPATH"] = f"{source}:{ROOT}"
    return System(
        name=name,
        title=name,
        peer=False,
        module="benchmarks.outlast_shapes",
        worker=lambda python, processes: [
            python,
            str(Path(python).with_name("outlast")),
            *("worker", "benchmarks.outlast_shapes:shop", "--processes", str(processes)),
        ],
        jobs=50_000,
        singles=0,
        backlog=0,
        settings="",
        sync="",
        env=env,
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.selection", description=__doc__)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=50_000, help="jobs of one drain; 100,000 keys have as many")
    parser.add_argument("--waiting", type=int, default=1_000_000, help="jobs of the flood; a tenth of them is drained")
    parser.add_argument("--only", default=",".join(SHAPES), help=f"of {', '.join(SHAPES)}")
    parser.add_argument(
        "--foundation", type=Path, help="a checkout of an older commit, to compare the plain queue with"
    )
    given = parser.parse_args(argv)
    names = given.only.split(",")
    environments.HOME.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="selection-", dir=environments.HOME))
    found: dict[str, list[measure.Figures]] = {}
    try:
        systems = [system(name) for name in names]
        if given.foundation:
            systems.insert(0, system("foundation", given.foundation / "src"))
        benches = {each.name: measure.Bench(each, folder, measure.Scale(given.jobs / 50_000)) for each in systems}
        if "flood" in benches:
            benches["flood"].fresh()
            benches["flood"].fill(given.waiting)
        for pair in range(given.pairs):
            for name, bench in benches.items():
                bench.board.clear()
                figures = bench.flood(given.waiting // 10) if name == "flood" else bench.drain()
                found.setdefault(name, []).append(figures)
                print(pair, name, f"{figures['rate']:,.0f} jobs/s, {figures['cpu']:.4f} s", file=sys.stderr, flush=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print("shape        jobs/s   CPU s per 1,000   of plain (median of pairs)   at most")
    for name, samples in found.items():
        base = found.get("foundation" if name == "plain" else "plain", samples)
        shares = [each["cpu"] / beside["cpu"] for each, beside in zip(samples, base, strict=True)]
        rate, cpu = median(each["rate"] for each in samples), median(each["cpu"] for each in samples)
        bound = f"{MOST[name]:.2f}" if name in MOST else "-"
        print(f"{name:11} {rate:8,.0f}   {cpu:15.4f}   {median(shares):26.3f}   {bound:>7}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
