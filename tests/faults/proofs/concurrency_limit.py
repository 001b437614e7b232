"""A concurrency limit of 1 while workers are killed: `python -m tests.faults.proofs.concurrency_limit --kills 200`.

Two supervisors of two workers each run jobs of a queue that may have one running, and of five keys that may have one
each. Workers and whole supervisors are killed with SIGKILL. A witness reads the store all the while; the handlers
write when they start and end. Judged: no two live leases at any look, no run that starts while another goes on whose
process was not killed, every job ended, and the longest time in which nothing of a limited group began.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Iterable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

from outlast.core.store.records import Query
from outlast.settings import Settings
from tests.faults.selection import app as declared
from tests.support.ledger import Entry, Ledger
from tests.support.origin import origin
from tests.support.polling import until
from tests.support.supervise import Supervised, supervised

__all__ = ["Verdict", "alone", "judge"]

KEYS = [f"key{n}" for n in range(5)]
AHEAD = 8
"""Jobs of each group that are kept waiting."""


@dataclass(frozen=True)
class Verdict:
    """What was seen. together: looks at which a group had two live leases; overlaps: starts beside a live run."""

    jobs: int
    kills: int
    looks: int
    together: int
    overlaps: int
    unfinished: int
    starts: int
    longest_pause: float
    """Seconds between two starts of one group, the longest."""

    @property
    def clean(self) -> bool:
        """Whether nothing ran together and nothing was left."""
        return not (self.together or self.overlaps or self.unfinished)


def judge(entries: Iterable[Entry]) -> tuple[int, float, int]:
    """Return (starts beside a live run, longest pause between two starts of a group in seconds, starts)."""
    entries = sorted(entries, key=lambda each: each.at)
    running: dict[str, Entry] = {}
    last: dict[str, float] = {}
    killed: set[int] = set()
    overlaps = starts = 0
    pause = 0.0
    for entry in entries:
        if entry.word == "killed":
            killed.add(int(entry.name))
            running = {group: each for group, each in running.items() if each.pid not in killed}
        elif entry.word == "start":
            overlaps += entry.name in running
            starts += 1
            pause = max(pause, entry.at - last.get(entry.name, entry.at))
            if entry.pid not in killed:  # it may have written in the moment between the word and the blow
                running[entry.name] = entry
            last[entry.name] = entry.at
        elif running.get(entry.name) is not None and running[entry.name].pid == entry.pid:
            del running[entry.name]
    return overlaps, pause, starts


def _kill(ledger: Ledger, pids: Iterable[int]) -> int:
    """Kill processes; what the ledger says before is that they are as good as dead."""
    count = 0
    for pid in pids:
        ledger.write("killed", pid)
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
            count += 1
    return count


async def alone(folder: Path, *, kills: int, seed: int = 1, gap: float = 1.2) -> Verdict:
    """Run it in `folder`: `kills` workers die, one about every `gap` seconds, some with their whole supervisor."""
    rng = random.Random(seed)
    ledger = Ledger(folder / "ledger")
    url = f"sqlite:{folder}/jobs.db"
    environ = {"OUTLAST_ALONE_URL": url, "OUTLAST_ALONE_LEASE": "1.5", "ALONE_LEDGER": str(ledger.path)}
    shop = declared.shop
    shop.explicit_settings = Settings(url=url, enqueue_timeout=60)
    sent: list[str] = []
    dead = 0
    looks = together = 0
    done = asyncio.Event()

    async def feed() -> None:
        store = (await shop.runtime()).store
        while not done.is_set():
            counts = await store.broker.stats(["single", "keyed"])
            messages = []
            if "single" not in counts or counts["single"].depth < AHEAD:
                messages += [declared.single.message(len(sent) + n) for n in range(AHEAD)]
            if "keyed" not in counts or counts["keyed"].depth < AHEAD * len(KEYS):
                messages += [declared.keyed.message(n, key) for n in range(AHEAD) for key in KEYS]
            if messages:
                sent.extend(handle.id for handle in await shop.enqueue_many(messages))
            with suppress(TimeoutError):
                await asyncio.wait_for(done.wait(), 0.02)

    async def witness() -> None:
        nonlocal looks, together
        store = (await shop.runtime()).store
        while not done.is_set():
            page = await store.records.find(Query(states=("running",), limit=100))
            groups = Counter(record.key or record.queue for record in page.records)
            looks += 1
            together += any(count > 1 for count in groups.values())
            with suppress(TimeoutError):
                await asyncio.wait_for(done.wait(), 0.002)

    async def blows(running: list[Supervised], stack: ExitStack) -> None:
        nonlocal dead
        while dead < kills:
            with suppress(TimeoutError):
                await asyncio.wait_for(done.wait(), gap * rng.uniform(0.5, 1.5))
            nr = rng.randrange(len(running))
            if rng.random() < 0.1:
                family = [each.pid for each in running[nr].family()]
                dead += _kill(ledger, family)
                running[nr].process.wait()
                running[nr] = stack.enter_context(supervised(TARGET, environ, folder / "log", processes=2))
            elif workers := running[nr].workers():
                dead += _kill(ledger, [rng.choice(workers)])

    with ExitStack() as stack:
        running = [stack.enter_context(supervised(TARGET, environ, folder / "log", processes=2)) for _ in range(2)]
        tasks = [asyncio.create_task(feed()), asyncio.create_task(witness())]
        await until(lambda: len(ledger.read("end")) > 20, "the workers run", within=60)
        await blows(running, stack)
        done.set()
        await asyncio.gather(*tasks)
        store = (await shop.runtime()).store
        left: list[str] = []
        deadline = time.monotonic() + 120
        for start in range(0, len(sent), 500):
            records = await store.records.wait(sent[start : start + 500], max(1.0, deadline - time.monotonic()))
            left += [each.id for each in records if each is not None and each.state != "succeeded"]
        await shop.close()
    overlaps, pause, starts = judge(ledger.read())
    return Verdict(len(sent), dead, looks, together, overlaps, len(left), starts, pause)


TARGET = "tests.faults.selection.app:shop"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    print(origin(chosen.seed), flush=True)
    with tempfile.TemporaryDirectory() as scratch:
        verdict = asyncio.run(alone(Path(scratch), kills=chosen.kills, seed=chosen.seed))
    print(verdict)
    raise SystemExit(0 if verdict.clean else 1)
