"""Sessions under concurrent writes, an outage, and in number: `python -m tests.faults.proofs.sessions sqlite|redis`.

Two requests at a time write to the same sessions, as two processes do, until 10,000 writes were saved: none may be lost
(tests/faults/toolkit/session_writes.py). Then the store is stopped and goes on again: see
tests/support/sessions_away.py. At last it prints what a read and a write of one request cost, and what 100,000 sessions
take.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import signal
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from outlast.aio.clock import SystemClock
from outlast.core.toolkit_errors import ToolkitAway
from outlast.toolkit.access import Toolkit
from outlast.toolkit.server import ToolkitServer
from outlast.toolkit.sessions.sessions import Sessions
from outlast.toolkit.store import ToolkitStore
from tests.faults.toolkit.session_writes import SessionVerdict, interleave_writes
from tests.support.servers.redis_server import RedisServer
from tests.support.sessions_away import app_of, back, judge_away
from tests.support.sqlite_file import locked
from tests.support.toolkit_sessions import begun_session, sessions_on

__all__ = ["Outage", "sound"]

TIMEOUT = 1.0


@dataclass(frozen=True)
class Outage:
    """Seconds: of the slowest request while the store was away, and until it was used again after that."""

    slowest: float
    back: float


def sound(verdict: SessionVerdict, outage: Outage) -> bool:
    """Return whether nothing was lost, each request took its side within the deadline, and all was whole in 5 s."""
    return not verdict.lost and not verdict.twice and outage.slowest < 1.5 * TIMEOUT and outage.back < 5


@contextlib.contextmanager
def _hanging(place: Path | RedisServer) -> Iterator[None]:
    """Let the store not answer within the block."""
    if isinstance(place, Path):
        with locked(place):
            yield
        return
    assert place.process is not None
    os.kill(place.process.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(place.process.pid, signal.SIGCONT)


async def _outage(sessions: Sessions, place: Path | RedisServer) -> Outage:
    app, id_ = app_of(sessions), await begun_session(sessions, "ann", a=1)
    with _hanging(place):
        if isinstance(place, Path):  # a file that is locked can be read: a write finds out
            await _refused(sessions, id_)
        slowest = await judge_away(app, id_)
    return Outage(round(slowest, 2), round(await back(app, id_), 2))


async def _refused(sessions: Sessions, id: str) -> None:
    """Find out by a write that the store is away."""
    session = await sessions.open(id)
    session["a"] = 3
    try:
        await session.save()
    except ToolkitAway:
        return
    raise AssertionError("the write was saved")


async def _costs(sessions: Sessions, count: int) -> tuple[float, float]:
    """Return the microseconds of a read and of a write, one after the other, by one process."""
    id_ = await begun_session(sessions, "bob", basket=[1, 2, 3], theme="dark")

    async def read(_: int) -> None:
        session = await sessions.open(id_)
        assert session["theme"] == "dark"

    async def write(number: int) -> None:
        session = await sessions.open(id_)
        session["seen"] = number
        await session.save()

    return await _each(read, count), await _each(write, count)


async def _each(call: Callable[[int], Awaitable[None]], count: int) -> float:
    for number in range(100):
        await call(-number)
    began = time.perf_counter()
    for number in range(1, count + 1):
        await call(number)
    return (time.perf_counter() - began) / count * 1e6


async def _filled(url: str, number: int) -> float:
    """Store sessions of users with two small fields where nothing else is; return the bytes that each takes."""
    kit = Toolkit(url, clock=SystemClock(), timeout=30)
    sessions, before = sessions_on(kit, "many"), await kit.use(_memory)
    for begin in range(0, number, 500):
        await asyncio.gather(
            *(
                begun_session(sessions, f"user-{user}", basket=[1, 2, 3], theme="dark")
                for user in range(begin, min(number, begin + 500))
            )
        )
    after = await kit.use(_memory)
    await kit.close()  # which moves the log of a file into it
    return (after - before or Path(url.removeprefix("sqlite:")).stat().st_size) / number


async def _memory(store: ToolkitStore) -> int:
    """Return the bytes that a server holds in memory, 0 of a file."""
    if not isinstance(store, ToolkitServer):
        return 0
    info = await store.client.command("INFO", "memory")
    return int(info.partition(b"used_memory:")[2].split()[0])


async def prove(store: str, folder: Path, *, writes: int, number: int, calls: int) -> bool:
    """Run the proof and print what was seen."""
    server = RedisServer() if store == "redis" else None
    try:
        if server is not None:
            server.start()
        url = server.url if server is not None else f"sqlite:{folder}/toolkit.db"
        kits = [Toolkit(url, clock=SystemClock(), timeout=TIMEOUT) for _ in range(2)]
        patient = Toolkit(url, clock=SystemClock(), timeout=30)
        began = time.monotonic()
        verdict = await interleave_writes([sessions_on(kit) for kit in kits], writes, seed=0)
        print(f"{store}: {verdict} in {time.monotonic() - began:.0f} s", flush=True)
        read, write = await _costs(sessions_on(patient), calls)
        print(f"{store}: a read takes {read:.0f} us, a read and a write {write:.0f} us", flush=True)
        each = await _filled(url if server is not None else f"sqlite:{folder}/many.db", number)
        print(f"{store}: {number:,} sessions take {each * number / 1e6:.0f} MB, {each:.0f} bytes each", flush=True)
        outage = await _outage(sessions_on(kits[0]), server or folder / "toolkit.db")
        print(f"{store}: {outage}", flush=True)
        for kit in (*kits, patient):
            await kit.close()
    finally:
        if server is not None:
            server.remove()
    return sound(verdict, outage)


def main() -> int:
    """Run the proof."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("store", choices=["sqlite", "redis"])
    parser.add_argument("--writes", type=int, default=10_000)
    parser.add_argument("--sessions", type=int, default=100_000)
    parser.add_argument("--calls", type=int, default=2_000)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        right = asyncio.run(
            prove(given.store, Path(folder), writes=given.writes, number=given.sessions, calls=given.calls)
        )
    return 0 if right else 1


if __name__ == "__main__":
    raise SystemExit(main())
