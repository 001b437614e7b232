"""Measure Outlast, the floor and the peers in one run, and write the table and the plot: `python -m benchmarks.run`.

The repetitions are interleaved (A B C, A B C, ...), so that what the machine does meanwhile meets all alike.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks import environments, figures, guards, machine, measure, plot, report, toolkit, toolkit_stores
from benchmarks.measure_rabbitmq import RabbitBench
from benchmarks.measure_redis import RedisBench
from benchmarks.processes import BenchError
from benchmarks.rows import MEASURES, Measure
from benchmarks.system import Store, System
from benchmarks.systems import SYSTEMS

__all__ = ["main"]

ROOT = Path(__file__).resolve().parent.parent
PARTS = {guards.NAME: guards, toolkit.NAME: toolkit}
"""What is measured without the jobs of a store."""
BENCHES: dict[Store, type[measure.Bench]] = {"sqlite": measure.Bench, "redis": RedisBench, "rabbitmq": RabbitBench}


def options(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.run", description=__doc__)
    names = [*dict.fromkeys(each.name for each in MEASURES), *PARTS]
    parser.add_argument("--what", default=",".join(names), help=f"of {', '.join(names)}; all by default")
    parser.add_argument(
        "--peers", default="all", help="all, none, or some of " + ", ".join(s.name for s in SYSTEMS if s.peer)
    )
    parser.add_argument("--store", default="sqlite,redis,rabbitmq", help="sqlite, redis, rabbitmq; all by default")
    parser.add_argument(
        "--only",
        default="",
        help="measure only these systems, of ours too; or guards, toolkit, toolkit-stores: each alone",
    )
    parser.add_argument("--pairs", type=int, default=5, help="pairs of Outlast and the floor; at most 3 for most peers")
    parser.add_argument(
        "--jobs", type=int, default=50_000, help="jobs in one drain of Outlast; the rest is scaled by it"
    )
    parser.add_argument("--quick", action="store_true", help="a hundredth of everything, once: does it still work?")
    parser.add_argument(
        "--out", type=Path, default=ROOT, help="write docs/ and benchmarks/results.json below this folder"
    )
    parser.add_argument("--no-plot", action="store_true", help="no docs/images/*.svg")
    return parser.parse_args(argv)


def chosen(given: argparse.Namespace) -> list[System]:
    """Return the systems that are asked for."""
    stores = given.store.split(",")
    there = [system for system in SYSTEMS if system.store in stores]
    if given.only:
        return [system for system in there if system.name in given.only.split(",")]
    peers = {system.name for system in there} if given.peers == "all" else set(given.peers.split(","))
    return [system for system in there if not system.peer or system.name in peers]


def say(*words: object) -> None:
    """Show progress."""
    print(time.strftime("%H:%M:%S"), *words, file=sys.stderr, flush=True)


def sample(bench: measure.Bench, what: str) -> list[dict[str, Any]]:
    """Measure once; some measurements bring several samples."""
    found = getattr(bench, what)()
    return found if isinstance(found, list) else [found] if found else []


def measured(what: Measure, benches: dict[str, measure.Bench], pairs: int, errors: list[str]) -> dict[str, list[Any]]:
    """Return the samples of one measurement, by system."""
    if what.name == "import":
        return {"outlast": measure.import_time(4 * pairs - 1)} if "outlast" in benches else {}
    mine = {n: b for n, b in benches.items() if b.system.store == what.store and n not in what.skip}
    if what.together:
        with ThreadPoolExecutor(max(1, len(mine))) as threads:
            found = dict(zip(mine, threads.map(lambda bench: once(what, bench, errors), mine.values()), strict=True))
        return {name: each for name, each in found.items() if each is not None}
    samples: dict[str, list[Any]] = {}
    broken: set[str] = set()
    for turn in range(min(pairs, what.repeats or pairs)):
        for name, bench in mine.items():
            few = bench.system.peer and not bench.system.gated
            if name in broken or (few and turn >= what.peer_repeats):
                continue
            if (each := once(what, bench, errors)) is None:
                broken.add(name)
            else:
                samples.setdefault(name, []).extend(each)
    return samples


def once(what: Measure, bench: measure.Bench, errors: list[str]) -> list[dict[str, Any]] | None:
    """Return the samples of one measurement of one system; None, and a line in `errors`, when it cannot be measured."""
    name = bench.system.name
    try:
        found = sample(bench, what.name)
    except (BenchError, subprocess.TimeoutExpired) as error:
        # The text names files of this machine: it is shown, and not kept.
        errors.append(f"{name}, {what.key}")
        say("FAILED", errors[-1], error)
        return None
    finally:
        bench.release()
    last = found[-1] if found else {}
    say(what.key, name, *(f"{k}={v:,.4g}" for k, v in last.items() if isinstance(v, float)))
    return found


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and write. Return 1 when something could not be measured; the rest is written all the same."""
    given = options(argv)
    if given.only == toolkit_stores.NAME:
        return toolkit_stores.write(given.out, repetitions=given.pairs, quick=given.quick)
    scale = measure.Scale(given.jobs / 50_000)
    if given.quick:
        given.pairs = 1
        scale = measure.Scale(scale.part / 100, seconds=0.5, deep=60_000, shallow=300, strict=False, patience=5)
    stores, names = given.store.split(","), given.what.split(",")
    what = [each for each in MEASURES if each.name in names and each.store in stores]
    environments.HOME.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="run-", dir=environments.HOME))
    results = report.load(given.out / "benchmarks" / "results.json")
    errors: list[str] = []
    only = given.only.split(",") if given.only else []
    parts = [part for part in PARTS if part in (only or names)]
    what = [] if only and set(only) <= PARTS.keys() else what
    try:
        benches: dict[str, measure.Bench] = {}
        for system in chosen(given):
            try:
                benches[system.name] = BENCHES[system.store](system, folder, scale)
            except (BenchError, subprocess.CalledProcessError) as error:
                errors.append(f"{system.name}: no environment")
                say("FAILED", system.name, error)
        run = figures.Run(
            at=time.strftime("%Y-%m-%d %H:%M", time.gmtime()),
            pairs=given.pairs,
            part=scale.part,
            machine=machine.facts(folder, stores=stores),
        )
        for part in parts:
            results.rows[part] = PARTS[part].measured(run, peers=given.peers != "none", errors=errors)
            results.versions[part] = PARTS[part].versions(peers=given.peers != "none")
        for each in what:
            results.rows[each.key] = figures.Measured(run, measured(each, benches, given.pairs, errors))
        results.versions |= {name: environments.versions(bench.system, bench.python) for name, bench in benches.items()}
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    results.errors = errors
    report.write(results, given.out)
    if what and not given.no_plot:
        plot.draw(given.out, [store for store in plot.PICTURES if store in stores])
    for text in errors:
        print(text, file=sys.stderr)
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
