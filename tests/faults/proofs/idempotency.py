"""Requests of one Idempotency-Key over several processes, some killed: `python -m tests.faults.proofs.idempotency`.

Handlers that never end are killed with SIGKILL. Their keys are asked for until each runs again: not before its lease
has ended, and once. Then processes send many requests of one key at once: one runs.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from outlast.aio.clock import SystemClock
from outlast.core.clock import Clock
from outlast.testing.clock import FakeClock
from outlast.toolkit.idempotency.keeper import LEASE, RENEW
from tests.faults.toolkit.order_child import OrderApp, orders_in, toolkit_of
from tests.support.servers.redis_server import RedisServer

__all__ = ["Verdict", "prove"]

ROOT = Path(__file__).parents[3]


@dataclass(frozen=True)
class Verdict:
    """What came of a run. freed: seconds from a kill until the key ran again, first and last.

    early: keys that ran again before their lease could have ended; runs: of a killed key, by how many had as many;
    orders: of the keys that many sent at once; statuses: of those requests; answers: different ones of a key, at most.
    """

    kills: int
    freed: tuple[float, float]
    refused: int
    early: int
    runs: dict[int, int]
    orders: dict[int, int]
    statuses: dict[str, int]
    answers: int
    seconds: float

    @property
    def sound(self) -> bool:
        """Whether each killed key ran twice, the second time after its lease, and each of the others once."""
        return (
            self.early == 0
            and set(self.runs) == {2}
            and set(self.orders) == {1}
            and set(self.statuses) <= {"201", "409"}
            and self.answers == 1
        )


class _Child:
    """One process of the app."""

    def __init__(self, url: str, ledger: Path, clock: Clock) -> None:
        kind = "fake" if isinstance(clock, FakeClock) else "real"
        command = [sys.executable, "-m", "tests.faults.toolkit.order_child", url, str(ledger), kind]
        self.process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    async def ask(self, words: str = "") -> str:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        if words:
            self.process.stdin.write(f"{words}\n")
            self.process.stdin.flush()
        answer = (await asyncio.to_thread(self.process.stdout.readline)).strip()
        assert answer, f"the process ended with {self.process.poll()}"
        return answer

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()


async def prove(
    url: str,
    folder: Path,
    clock: Clock,
    pause: Callable[[], Awaitable[None]],
    *,
    kills: int,
    rounds: int,
    requests: int,
    senders: int = 4,
) -> Verdict:
    """Kill `kills` handlers, then send `requests` requests of one key from `senders` processes, `rounds` times.

    pause: passes some of the time of a lease.
    """
    began, ledger, kit = time.monotonic(), folder / "ledger", toolkit_of(url, clock)
    app = OrderApp(kit, ledger)
    children = [_Child(url, ledger, clock) for _ in range(senders + 1)]
    try:
        await asyncio.gather(*(child.ask() for child in children))
        killed, *others = children
        keys = [f"killed-{number}" for number in range(kills)]
        for key in keys:
            await killed.ask(f"hang {key}")
        killed.kill()
        freed, refused = await _free_again(app, keys, clock, pause)
        statuses: Counter[str] = Counter()
        answers = 1
        for number in range(rounds):
            said = await asyncio.gather(*(each.ask(f"order many-{number} {requests // senders}") for each in others))
            found = [json.loads(each) for each in said]
            statuses.update(sum((Counter(each["counts"]) for each in found), Counter()))
            answers = max(answers, len({body for each in found for body in each["bodies"]}))
    finally:
        for child in children:
            child.kill()
        await kit.close()
    runs = orders_in(ledger)
    # The last renewal may have been as long before the kill as one comes after another.
    earliest = LEASE - RENEW - 1
    return Verdict(
        kills,
        (round(min(freed), 2), round(max(freed), 2)),
        refused,
        sum(each < earliest for each in freed),
        dict(Counter(runs[key] for key in keys)),
        dict(Counter(runs[f"many-{number}"] for number in range(rounds))),
        dict(statuses),
        answers,
        round(time.monotonic() - began, 1),
    )


async def _free_again(
    app: OrderApp, keys: list[str], clock: Clock, pause: Callable[[], Awaitable[None]]
) -> tuple[list[float], int]:
    """Send each key from three tasks at once until it is done; return when each was, and how many were refused."""
    at, refused, waiting, freed = clock.monotonic(), 0, [*keys], list[float]()
    while waiting:
        for key in [*waiting]:
            replies = await asyncio.gather(*(app.order(key) for _ in range(3)))
            assert {each.status for each in replies} <= {201, 409}
            refused += sum(each.status == 409 for each in replies)
            if any(each.status == 201 for each in replies):
                waiting.remove(key)
                freed.append(clock.monotonic() - at)
        if waiting:
            await pause()
    return freed, refused


def main() -> int:
    """Run the proof and print the verdict."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("store", choices=["sqlite", "redis"])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--requests", type=int, default=1000)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        server = RedisServer() if given.store == "redis" else None
        try:
            if server is not None:
                server.start()
            url = server.url if server is not None else f"sqlite:{folder}/toolkit.db"
            verdict = asyncio.run(
                prove(
                    url,
                    Path(folder),
                    SystemClock(),
                    lambda: asyncio.sleep(0.2),
                    kills=given.kills,
                    rounds=given.rounds,
                    requests=given.requests,
                )
            )
        finally:
            if server is not None:
                server.remove()
    print(verdict)
    return 0 if verdict.sound else 1


if __name__ == "__main__":
    raise SystemExit(main())
