"""A process that uses a store file without a pause, and writes what it was told: arguments ROLE PATH JOURNAL NAME.

A line is "asked" before a call, "accepted" or "finished" after its answer, each with the monotonic time in nanoseconds;
"moved" when the store refused because its file was moved; then the process ends.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Callable

from msgspec import Raw

from outlast.aio.clock import SystemClock
from outlast.brokers.sqlite import SqliteStore
from outlast.brokers.sqlite.tuning import Tuning
from outlast.core.errors import StoreMoved
from outlast.core.message import Holder, Message
from outlast.core.settlement import Finish

__all__: list[str] = []

Say = Callable[[str, list[str]], None]


def _message(id: str) -> Message:
    now = SystemClock().time()
    return Message(id=id, queue="q", kind="k", args=Raw(b'{"text":"%s"}' % (b"x" * 500)), enqueued_at=now, run_at=now)


async def _publish(store: SqliteStore, say: Say, name: str) -> None:
    n = 0
    while True:
        ids = [f"q.{name}-{n + k}" for k in range(3)]
        say("asked", ids)
        await store.publish([_message(id) for id in ids])
        say("accepted", ids)
        n += 3


async def _work(store: SqliteStore, say: Say, name: str) -> None:
    holder = Holder(f"{name}-{os.getpid()}", name)
    while True:
        given = await store.claim({"q": 5}, limit=5, holder=holder, lease=5, wait=0.5)
        ids = [each.message.id for each in given]
        say("started", ids)
        await store.settle([Finish(each.fence, "succeeded") for each in given])
        say("finished", ids)


async def _main(role: str, path: str, journal: str, name: str) -> None:
    out = os.open(journal, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600)

    def say(word: str, ids: list[str]) -> None:
        os.write(out, f"{time.monotonic_ns()} {word} {' '.join(ids)}\n".encode())

    store = SqliteStore(path, clock=SystemClock(), tuning=Tuning(idle=0.1, retention=0.2, log_pages=50, log_limit=100))
    await store.open()
    try:
        await {"publisher": _publish, "worker": _work}[role](store, say, name)
    except StoreMoved:
        say("moved", [])
    finally:
        await store.close()


if __name__ == "__main__":
    asyncio.run(_main(*sys.argv[1:]))
