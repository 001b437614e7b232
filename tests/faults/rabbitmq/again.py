"""Measures the time from the first answer of a restarted RabbitMQ until its workers consume again.

The server answers when a plain client (`raw_channel`) gets through the handshake and opens a channel. Everything that
is measured was sent after that, so that no job counts which a worker or the store had before.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from tests.support.ledger import Entry, Ledger
from tests.support.polling import until
from tests.support.raw_amqp import raw_channel
from tests.support.servers.rabbitmq_server import RabbitServer

__all__ = ["AGAIN", "Consumption", "Restart", "Restarts"]

AGAIN: Final = 5.0
"""Seconds within which all workers consume again after the server answers (p99)."""
BATCH: Final = 12
"""Jobs that are sent at a time while the workers come back: some for each of them."""
PATIENCE: Final = 60.0
"""Seconds after which a worker that does not consume ends the run."""


@dataclass(frozen=True)
class Restart:
    """Seconds from the answer of the server: to the first job that began; until the last of the workers consumed."""

    first: float
    last: float


@dataclass
class Restarts:
    """All restarts of a run."""

    seen: list[Restart] = field(default_factory=list)

    @property
    def in_time(self) -> bool:
        """Whether there was a restart, and the p99 of all workers is at most AGAIN."""
        return bool(self.seen) and _p99([each.last for each in self.seen]) <= AGAIN

    def __str__(self) -> str:
        if not self.seen:
            return "no restart was measured"
        first, last = [each.first for each in self.seen], [each.last for each in self.seen]
        return (
            f"after the answer of RabbitMQ the first job began within {_shown(first)}, and each worker "
            f"consumed within {_shown(last)}, of {len(self.seen)} restarts (at most {AGAIN:g} s p99)"
        )


def _p99(seconds: Sequence[float]) -> float:
    """Return the nearest rank: the longest of up to 100."""
    return sorted(seconds)[-(-len(seconds) * 99 // 100) - 1]


def _shown(seconds: Sequence[float]) -> str:
    return f"{sorted(seconds)[len(seconds) // 2]:.2f} s (median), {_p99(seconds):.2f} s (p99), {max(seconds):.2f} (max)"


@dataclass(frozen=True)
class Consumption:
    """How jobs get to workers, and how the ledger tells it.

    workers: the pids of the `processes` workers that live. send: returns when jobs of these names are accepted. word,
    mark: the entry of the ledger which says that a process took a job from RabbitMQ, and its name for a job. A job of
    RabbitMQ itself has started then; one of a store was moved there, maybe by another worker than its own.
    """

    ledger: Ledger
    workers: Callable[[], Sequence[int]]
    processes: int
    send: Callable[[Sequence[str]], Awaitable[Any]]
    word: str = "start"
    mark: Callable[[str], str] = str

    async def restart(self, server: RabbitServer, url: str) -> Restart:
        """Kill the server and start it, when each worker consumes; measure until each consumes again.

        Raise AssertionError when one does not within a minute.
        """

        def all_consume(since: dict[int, float]) -> bool:
            living = self.workers()
            return len(living) == self.processes and since.keys() >= set(living)

        await self._feed(all_consume, f"all {self.processes} workers consume")
        known = set(self.workers())
        answered = await _restarted(server, url)
        first, since = await self._feed(lambda since: since.keys() >= known, f"{sorted(known)} consume again")
        return Restart(first - answered, max(since[pid] for pid in known) - answered)

    async def _feed(self, enough: Callable[[dict[int, float]], bool], what: str) -> tuple[float, dict[int, float]]:
        """Send jobs until enough workers took some; return when the first one began, and when each worker took one."""
        sent: set[str] = set()
        over = asyncio.Event()
        began = time.monotonic()

        async def feed() -> None:
            """Keep some jobs waiting: a worker that comes late has none otherwise."""
            for number in itertools.count():
                if over.is_set():
                    return
                names = [f"again-{began:.3f}-{number}-{each}" for each in range(BATCH)]
                sent.update(names)
                await self.send(names)
                await asyncio.sleep(0.1)  # the pace of a producer; the ledger tells when a worker took one

        def since() -> dict[int, float]:
            marks = {self.mark(name) for name in sent}
            return _first([each for each in self.ledger.read(self.word) if each.name in marks])

        def begun() -> list[float]:
            return [each.at for each in self.ledger.read("start") if each.name in sent]

        feeding = asyncio.create_task(feed())
        try:
            await until(lambda: begun() and enough(since()), what, within=PATIENCE)
        finally:
            over.set()  # not cancelled: it would be unknown whether the last jobs were accepted
            await feeding
        return min(begun()), since()


async def _restarted(server: RabbitServer, url: str) -> float:
    """Kill the server and start it; return the monotonic second in which it answered a plain client."""
    await asyncio.to_thread(server.kill)
    async with asyncio.TaskGroup() as both:
        answered = both.create_task(asyncio.to_thread(_first_answer, url))
        both.create_task(asyncio.to_thread(server.start))
    return answered.result()


def _first_answer(url: str) -> float:
    """Try the handshake until it succeeds; the server has two minutes."""
    end = time.monotonic() + 120
    while True:
        try:
            with raw_channel(url):
                return time.monotonic()
        except OSError:  # it refuses the connection, or ends it
            if time.monotonic() > end:
                raise
        time.sleep(0.02)  # in a thread of its own: a server that is away tells nothing to wait for


def _first(entries: Sequence[Entry]) -> dict[int, float]:
    """Return for each process the time of its first entry."""
    found: dict[int, float] = {}
    for each in entries:
        found[each.pid] = min(each.at, found.get(each.pid, each.at))
    return found
