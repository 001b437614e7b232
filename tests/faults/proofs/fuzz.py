"""Feeds random inputs to every way in: 0 hangs, 0 raw errors, 0 lost.

`python -m tests.faults.proofs.fuzz [TARGET...] [--seconds 600] [--seed 1]`: arguments, options, toolkit, records, urls,
cli.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
import tempfile
from pathlib import Path

from tests.faults.fuzz.targets import TARGETS, fuzz
from tests.support.origin import origin


async def _main(options: argparse.Namespace) -> int:
    failed = 0
    for name in options.targets or TARGETS:
        with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
            found = await fuzz(name, Path(folder), seconds=options.seconds, seed_=options.seed)
        faults = found.faults.total()
        failed += faults
        print(f"{name}: {found.inputs} inputs in {options.seconds:g} s: {faults} faults", flush=True)
        for text, times in found.faults.most_common(30):
            print(f"  {times} {text}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("targets", nargs="*", choices=[*TARGETS, []])
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    print(origin(given.seed), flush=True)
    sys.exit(asyncio.run(_main(given)))
