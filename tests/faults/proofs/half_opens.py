"""Thousands of half-opens with 200 callers in 4 processes, one probe each: `python -m tests.faults.proofs.half_opens`.

The guard is open when the processes start, and its dependency fails: each call that is made is a probe. The state in
the store counts the probes that were given; the ledger of the processes has the calls that were made.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from outlast.core.guards.record import GuardRules
from tests.faults.guards.child import Settings
from tests.faults.guards.processes import Family, calls_of, opened, overlaps, record_of, store_at
from tests.support.origin import origin
from tests.support.store_urls import KINDS, store_url

__all__ = ["Verdict", "prove"]

INTERVAL = 0.02


@dataclass(frozen=True)
class Verdict:
    """What came of a run. wanted: half-opens; given: probes that the store gave; probes: calls; overlapping: of them.

    given is computed from the generations, two a probe. A probe may be given and not made: to a caller that has gone
    meanwhile, or too late, it is given back. How many are is shown and not judged.
    """

    wanted: int
    given: int
    probes: int
    overlapping: int
    by_process: tuple[int, ...]
    refused: int
    seconds: float

    @property
    def sound(self) -> bool:
        """Whether each half-open had exactly one probe: never two at a time, and none that was not given."""
        return self.wanted <= self.probes <= self.given and self.overlapping == 0


async def prove(url: str, folder: Path, *, half_opens: int, processes: int = 4, callers: int = 50) -> Verdict:
    """Let the processes probe until the guard was so often half-open; judge by the ledger."""
    ledger = folder / "ledger"
    settings = Settings(url=url, ledger=str(ledger), interval=INTERVAL)
    async with store_at(url) as store:
        await opened(store, GuardRules(interval=INTERVAL, lease=settings.lease))
        begin = time.monotonic()
        with Family.of(folder) as family:
            members = await asyncio.to_thread(family.start, settings, processes)
            for each in members:
                each.ask(f"call {callers}")
            seen = 0
            while not ledger.exists() or ledger.read_bytes().count(b"\n") < half_opens:
                seen = await store.guards.guards_changed(seen, 5)
            for each in members:
                await asyncio.to_thread(each.ask, "stop")
            # No probe is given any more; the end of the last one may not be stored yet.
            while (record := await record_of(store)).probe is not None:
                seen = await store.guards.guards_changed(seen, 5)
            refused = sum(each.counts().refused for each in members)
        calls = calls_of(ledger)
        by_process = tuple(sum(call.pid == each.pid for call in calls) for each in members)
        # Opening is one change of state; each probe is two, its giving and its end.
        given = (record.generation - 1) // 2
        return Verdict(half_opens, given, len(calls), overlaps(calls), by_process, refused, time.monotonic() - begin)


def main() -> int:
    """Run the proof and print the verdict."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("store", choices=KINDS)
    parser.add_argument("--half-opens", type=int, default=0, help="2,000 on SQLite, 10,000 on Redis")
    given = parser.parse_args()
    print(origin(), flush=True)
    count = given.half_opens or {"sqlite": 2_000, "redis": 10_000}[given.store]
    with tempfile.TemporaryDirectory() as folder, store_url(given.store, Path(folder)) as url:
        verdict = asyncio.run(prove(url, Path(folder), half_opens=count))
    print(verdict)
    return 0 if verdict.sound else 1


if __name__ == "__main__":
    raise SystemExit(main())
