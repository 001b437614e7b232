"""Runs all hostile handlers of tests/faults/hostile, in batches of random order, so many rounds; prints a table.

`python -m tests.faults.proofs.hostile [--rounds 3] [--seed 1] [--url redis://...] [WAY...]`
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

from tests.faults.hostile.declare import WAYS
from tests.faults.hostile.judge import Verdict, batches, judge
from tests.support.origin import origin

__all__ = ["table"]


def table(verdicts: Iterable[Verdict]) -> str:
    """Return a line for each hostile job: its end, its runs, and what was wrong."""
    return "\n".join(f"{each.way:45} {each.runs} {each.end:35} {'; '.join(each.faults) or 'ok'}" for each in verdicts)


async def _main(options: argparse.Namespace) -> int:
    rng, faults, seen = random.Random(options.seed), 0, 0
    for _ in range(options.rounds):
        names = options.ways or list(WAYS)
        rng.shuffle(names)
        for batch in batches(names, options.size, options.size):
            with tempfile.TemporaryDirectory(prefix="hostile-") as name:
                folder = Path(name)
                try:
                    verdicts = await judge(batch, options.url or f"sqlite:{folder}/jobs.db", folder)
                except AssertionError as error:
                    verdicts = [Verdict(" ".join(batch), str(error)[:200], 0, ("no verdict",))]
                found = [each for each in verdicts if each.faults]
                if found and options.logs:
                    print((folder / "log").read_text(errors="replace")[:20_000])
            seen += len(verdicts)
            faults += len(found)
            print(table(verdicts), flush=True)
    print(f"{options.rounds} rounds, {seen} hostile jobs, {faults} with faults")
    return 1 if faults else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--size", type=int, default=6)
    parser.add_argument("--url", default="")
    parser.add_argument("--logs", action="store_true")
    parser.add_argument("ways", nargs="*")
    given = parser.parse_args()
    print(origin(given.seed), flush=True)
    sys.exit(asyncio.run(_main(given)))
