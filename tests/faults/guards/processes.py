"""Start processes that share a guard, order them about, and judge what their ledger says."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TypeVar
from uuid import uuid4

import msgspec
from msgspec import Struct, structs

from outlast.core.guards.record import ROUND, GuardCommand, GuardRecord, GuardRules, Vote, asked, commanded, tallied
from outlast.core.store.store import Store
from tests.faults.guards.child import Counts, Settings, Shown, opened_store
from tests.support.polling import until

__all__ = [
    "Call",
    "Family",
    "Member",
    "calls_of",
    "changed",
    "commanded_by_hand",
    "opened",
    "overlaps",
    "reached",
    "record_of",
    "store_at",
]

ROOT = Path(__file__).parents[3]
PATIENCE = 60.0
T = TypeVar("T")


class Call(Struct, frozen=True, order=True):
    """One call of the dependency, by the host's monotonic clock. end: infinite for one that hangs."""

    begin: float
    end: float
    pid: int


class Member:
    """One process."""

    def __init__(self, settings: Settings, folder: Path) -> None:
        file = folder / f"{uuid4().hex}.settings"
        file.write_bytes(msgspec.json.encode(settings))
        command = [sys.executable, "-m", "tests.faults.guards.child", str(file)]
        self.process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    @property
    def pid(self) -> int:
        return self.process.pid

    def ask(self, words: str = "") -> str:
        """Send an order, and return the answer; without an order, wait until it is ready."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        if words:
            self.process.stdin.write(f"{words}\n")
            self.process.stdin.flush()
        answer = self.process.stdout.readline().strip()
        assert answer, f"the process ended with {self.process.poll()}"
        return answer

    def counts(self) -> Counts:
        return msgspec.json.decode(self.ask("counts"), type=Counts)

    def state(self) -> Shown:
        return msgspec.json.decode(self.ask("state"), type=Shown)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()


class Family:
    """Processes on one store."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.members: list[Member] = []

    def start(self, settings: Settings, number: int = 1) -> list[Member]:
        """Start processes, and wait until they are ready."""
        started = [Member(settings, self._folder) for _ in range(number)]
        self.members += started
        for each in started:
            assert each.ask() == "ready"
        return started

    @classmethod
    @contextmanager
    def of(cls, folder: Path) -> Iterator[Family]:
        """Kill all at the end."""
        family = cls(folder)
        try:
            yield family
        finally:
            for each in family.members:
                if each.process.poll() is None:
                    each.kill()


@asynccontextmanager
async def store_at(url: str) -> AsyncIterator[Store]:
    """Open the store of a URL for the length of a block."""
    store = await opened_store(url)
    try:
        yield store
    finally:
        await store.broker.close()


async def record_of(store: Store, name: str = "payments") -> GuardRecord:
    """Return the shared state of a guard."""
    return (await store.guards.guards()).of(name)


async def opened(store: Store, rules: GuardRules, name: str = "payments") -> GuardRecord:
    """Open a guard for all, as a vote of one process does: in one write, or another process could vote in between."""

    def step(found: GuardRecord, now: float) -> GuardRecord:
        round_ = asked(found, Vote("test", open=True), now - ROUND, rules)
        return structs.replace(tallied(round_, now), revision=found.revision + 1)

    record = await changed(store, step, name)
    assert record.open
    return record


async def changed(
    store: Store, step: Callable[[GuardRecord, float], GuardRecord], name: str = "payments"
) -> GuardRecord:
    """Change the shared state of a guard, given it and the store's time, as often as another process is first."""
    while True:
        view = await store.guards.guards()
        record = step(view.of(name), view.now)
        if await store.guards.swap([record]) == [True]:
            return record


async def commanded_by_hand(store: Store, command: GuardCommand) -> GuardRecord:
    """Give a command as an operator does, in another process."""
    return await changed(store, lambda found, now: commanded(found, command, now))


async def reached(look: Callable[[], T], wanted: Callable[[T], bool]) -> T:
    """Look again and again until it is as wanted, and return that."""

    async def found() -> list[T]:
        value = await asyncio.to_thread(look)
        return [value] if wanted(value) else []

    return (await until(found, "what the process was to reach", within=PATIENCE))[0]  # type: ignore[no-any-return]


def calls_of(ledger: Path) -> list[Call]:
    """Return the calls in the order in which they began."""
    lines = ledger.read_text().splitlines() if ledger.exists() else []
    return sorted(Call(float(begin), float(end), int(pid)) for pid, begin, end in map(str.split, lines))


def overlaps(calls: list[Call]) -> int:
    """Return how many calls began before an earlier one had ended."""
    count, latest = 0, 0.0
    for call in calls:
        count += call.begin < latest
        latest = max(latest, call.end)
    return count
