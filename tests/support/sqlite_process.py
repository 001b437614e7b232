"""Real processes on one SQLite file: publishers, workers without handlers, and a file that many open at once.

Each writes a line to its own journal after the store has answered, so that a journal says what the store promised:
`python -m tests.support.sqlite_process ROLE PATH JOURNAL NAME [COUNT]`.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from msgspec import Raw

from outlast.aio.clock import SystemClock
from outlast.brokers.sqlite import SqliteStore
from outlast.core.errors import StoreFull
from outlast.core.message import Holder, Message
from outlast.core.settlement import Accepted, Exists, Finish

__all__ = ["ROOT", "journals", "start"]

ROOT = Path(__file__).parents[2]
LEASE = 1.0
BODY = Raw(b'{"text":"%s"}' % (b"x" * 1000))


def start(role: str, path: Path, journal: Path, name: str, count: int = 0) -> subprocess.Popen[str]:
    """Start a process; it prints "ready", then works as soon as it reads a line."""
    command = [sys.executable, "-m", "tests.support.sqlite_process", role, str(path), str(journal), name, str(count)]
    return subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def journals(folder: Path, kind: str) -> list[str]:
    """Return the words of every whole line of all journals that begin with `kind`: a killed writer may cut its last."""
    words = []
    for journal in folder.glob("*.journal"):
        lines = journal.read_text().split("\n")[:-1]
        words += [line.partition(" ")[2] for line in lines if line.startswith(f"{kind} ")]
    return words


def _message(id: str) -> Message:
    now = SystemClock().time()
    return Message(id=id, queue="q", kind="k", args=BODY, enqueued_at=now, run_at=now)


async def publisher(store: SqliteStore, say: Callable[[str], None], name: str, count: int) -> None:
    """Publish `count` jobs (0: until killed), seven at a time; those that the disk has no room for, again."""
    n = 0
    while not count or n < count:
        ids = [f"q.{name}-{n + k}" for k in range(7)]
        say(f"asked {' '.join(ids)}")
        try:
            answers = await store.publish([_message(id) for id in ids])
        except StoreFull as error:
            say(f"full {error}")
            continue
        assert all(isinstance(answer, Accepted | Exists) for answer in answers)
        say(f"accepted {' '.join(ids)}")
        n += 7


async def worker(store: SqliteStore, say: Callable[[str], None], name: str, count: int) -> None:
    """Claim and finish until killed (count: as many claims in a row that give nothing)."""
    holder = Holder(f"{name}-{os.getpid()}-{SystemClock().monotonic()}", name)
    empty = 0
    while not count or empty < count:
        try:
            given = await store.claim({"q": 10}, limit=10, holder=holder, lease=LEASE, wait=0.2)
            empty = 0 if given else empty + 1
            for each in given:
                say(f"started {each.message.id} {each.fence.token}")
            lost = await store.settle([Finish(each.fence, "succeeded") for each in given])
        except StoreFull as error:
            say(f"full {error}")
            continue
        superseded = {each.fence for each in lost}
        for each in given:
            say(f"{'lost' if each.fence in superseded else 'finished'} {each.message.id} {each.fence.token}")


async def opener(store: SqliteStore, say: Callable[[str], None], name: str, count: int) -> None:
    """Publish one job."""
    await store.publish([_message(f"q.{name}")])
    say(f"accepted q.{name}")


async def _main(role: str, path: str, journal: str, name: str, count: str) -> None:
    roles = {"publisher": publisher, "worker": worker, "opener": opener}
    out = os.open(journal, os.O_CREAT | os.O_APPEND | os.O_WRONLY)

    def say(line: str) -> None:
        os.write(out, f"{line}\n".encode())

    print("ready", flush=True)
    sys.stdin.readline()
    store = SqliteStore(path, clock=SystemClock())
    await store.open()
    try:
        await roles[role](store, say, name, int(count))
    finally:
        await store.close()
        os.close(out)


if __name__ == "__main__":
    asyncio.run(_main(*sys.argv[1:]))
