"""The floor under Outlast's SQLite store: publish, claim, run and ack, fenced and fsynced, and nothing around them.

One writer thread, one transaction with synchronous=FULL a batch (WAL), the next claim in flight while a batch runs.
With retention (as Outlast ships it) an ended job becomes a record, the oldest beyond RECORDS records become
tombstones (body emptied, id remembered for 24 h), all in the same transactions; without, it is deleted.
Needs apsw, msgspec, and uvloop where it is there. `python -m benchmarks.floor_sqlite` is its worker.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import os
import signal
import sys
import time
from collections.abc import Sequence
from typing import Any

import apsw
import msgspec

from benchmarks import counter

__all__ = ["client"]

RECORDS = 10_000
REMEMBERED = 24 * 3600.0
BATCH = 256
PRAGMAS = ("journal_mode=wal", "synchronous=full", "wal_autocheckpoint=4000", "cache_size=-65536", "busy_timeout=10000")

SCHEMA = """
create table if not exists job(
    seq integer primary key, id text not null, queue int not null, state int not null, priority int not null,
    token int not null default 0, lease real, crashes int not null default 0, ended real, body blob not null);
create unique index if not exists job_id on job(id);
create index if not exists job_ready on job(queue, priority, seq) where state = 0;
create index if not exists job_lease on job(lease) where state = 1;
create index if not exists job_ended on job(ended) where state = 2;
"""
INSERT = "insert into job(id, queue, state, priority, body) values(?, 1, 0, 1, ?)"
CLAIM = """
update job set state = 1, token = token + 1, lease = ?, crashes = crashes + 1
where seq in (select seq from job where queue = 1 and state = 0 order by priority, seq limit ?)
returning seq, token, body
"""
DELETE = "delete from job where seq = ? and token = ? and state = 1"
END = "update job set state = 2, lease = null, ended = ? where seq = ? and token = ? and state = 1"
STRIP = """
update job set state = 3, body = x'' where seq in (select seq from job where state = 2 order by ended limit ?)
"""
FORGET = "delete from job where seq in (select seq from job where state = 3 and ended < ? order by seq limit 1000)"


class Body(msgspec.Struct):
    """A job as it is kept."""

    kind: str
    args: dict[str, Any]
    attempt: int = 1


def connect() -> apsw.Connection:
    """Open the file of this run; make its tables."""
    db = apsw.Connection(os.environ["BENCH_STORE"])
    for pragma in PRAGMAS:
        db.execute(f"pragma {pragma}")
    db.execute(SCHEMA)
    return db


class FloorClient:
    """Group commit: what arrives while a transaction is under way goes into the next one."""

    async def open(self) -> None:
        """Open the file and make the writer thread."""
        self._db = connect()
        self._encode = msgspec.json.Encoder().encode
        self._writer = concurrent.futures.ThreadPoolExecutor(1)
        self._waiting: list[tuple[tuple[str, bytes], asyncio.Future[None]]] = []
        self._flusher: asyncio.Task[None] | None = None
        self._count = 0

    async def close(self) -> None:
        """Close the file."""
        self._writer.shutdown()
        self._db.close()

    def _row(self, user_id: int, email: str) -> tuple[str, bytes]:
        # Ids grow with time, as UUIDv7 does: random ids cost three times as much on the unique index.
        self._count += 1
        body = self._encode(Body("send", {"user_id": user_id, "email": email}))
        return f"{time.time_ns():016x}{self._count:016x}", body

    def _commit(self, batch: Sequence[tuple[str, bytes]]) -> None:
        with self._db:
            self._db.executemany(INSERT, batch)

    async def _flush(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting:
            group, self._waiting = self._waiting, []
            await loop.run_in_executor(self._writer, self._commit, [row for row, _ in group])
            for _, accepted in group:
                accepted.set_result(None)
        self._flusher = None

    async def one(self, user_id: int, email: str) -> object:
        """Enqueue one job."""
        accepted = asyncio.get_running_loop().create_future()
        self._waiting.append((self._row(user_id, email), accepted))
        if self._flusher is None:
            self._flusher = asyncio.create_task(self._flush())
        return await accepted

    among = one

    async def many(self, batch: Sequence[tuple[int, str]]) -> object:
        """Enqueue a batch in one transaction."""
        made = [self._row(*row) for row in batch]
        return await asyncio.get_running_loop().run_in_executor(self._writer, self._commit, made)


def client() -> FloorClient:
    """Return what enqueues."""
    return FloorClient()


async def handler(user_id: int, email: str) -> None:
    """The job."""
    counter.run(user_id, email)


class Worker:
    """Claims, runs and acks until it is told to stop."""

    def __init__(self, *, retention: bool) -> None:
        self._db = connect()
        self._retention = retention
        self._records = sum(1 for _ in self._db.execute("select 1 from job where state = 2"))
        self._forgotten = time.monotonic()
        self._acks: list[tuple[int, int]] = []

    def _step(self, settled: list[tuple[int, int]], limit: int) -> list[tuple[int, int, bytes]]:
        now = time.time()
        claimed: list[Any] = []
        with self._db:
            if settled and self._retention:
                self._end(settled, now)
            elif settled:
                self._db.executemany(DELETE, settled)
            if limit:
                claimed = list(self._db.execute(CLAIM, (now + 30, limit)))
        return claimed

    def _end(self, settled: list[tuple[int, int]], now: float) -> None:
        self._db.executemany(END, [(now, *receipt) for receipt in settled])
        self._records += len(settled)
        if self._records > RECORDS:
            self._db.execute(STRIP, (self._records - RECORDS,))
            self._records = RECORDS
        if time.monotonic() - self._forgotten > 60:
            self._forgotten = time.monotonic()
            self._db.execute(FORGET, (now - REMEMBERED,))

    async def _run(self, seq: int, token: int, args: dict[str, Any]) -> None:
        await handler(**args)
        self._acks.append((seq, token))

    async def work(self, stop: asyncio.Event) -> None:
        """Run batches; the next claim and the last acks travel together, while the batch runs."""
        loop = asyncio.get_running_loop()
        decode = msgspec.json.Decoder(Body).decode
        with concurrent.futures.ThreadPoolExecutor(1) as writer:
            pending = loop.run_in_executor(writer, self._step, [], BATCH)
            while not stop.is_set():
                batch = await pending
                settled, self._acks = self._acks, []
                if not batch and not settled:
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(stop.wait(), 0.001)
                pending = loop.run_in_executor(writer, self._step, settled, BATCH)
                await asyncio.gather(*(loop.create_task(self._run(s, t, decode(body).args)) for s, t, body in batch))
            await pending
            await loop.run_in_executor(writer, self._step, self._acks, 0)
        self._db.close()


async def main() -> None:
    """Work until SIGTERM."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await Worker(retention="--delete" not in sys.argv).work(stop)


if __name__ == "__main__":
    try:
        import uvloop
    except ImportError:
        asyncio.run(main())
    else:
        uvloop.run(main())
