"""DBOS on SQLite: WAL mode set on the file (DBOS leaves the rollback journal); synchronous is FULL already."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import sqlalchemy
from dbos import DBOS, DBOSClient, DBOSConfig

from benchmarks import counter

__all__ = ["client", "send"]

URL = f"sqlite:///{os.environ['BENCH_STORE']}"
CONFIG: DBOSConfig = {
    "name": "bench",
    "system_database_url": URL,
    "application_version": "1",
    "log_level": "ERROR",
    "executor_id": str(os.getpid()),
}
# No worker_concurrency: without a bound (its default) it claims all that waits at once, and drains twice as fast.
QUEUE: dict[str, Any] = {"polling_interval_sec": 0.01}
OPTIONS: Any = {"queue_name": "bench", "workflow_name": "send", "app_version": "1"}


@DBOS.workflow(name="send")
async def send(user_id: int, email: str) -> None:
    """The job."""
    counter.run(user_id, email)


def make() -> None:
    """Make the file and leave it."""
    prepare()
    DBOS.destroy()


def prepare() -> None:
    """Make the file if it is not there (WAL, DBOS's tables, the queue), and take part."""
    if not os.environ.get("BENCH_DEFAULTS"):
        connection = sqlite3.connect(os.environ["BENCH_STORE"], timeout=30)
        connection.execute("pragma journal_mode=wal")
        connection.close()
    DBOS(config=CONFIG)
    DBOS.launch()
    DBOS.register_queue("bench", **({} if os.environ.get("BENCH_DEFAULTS") else QUEUE))


class DbosClient:
    """DBOS's client blocks; its own async API runs it in threads."""

    async def open(self) -> None:
        """Make the file if it is not there, and connect."""
        if not Path(os.environ["BENCH_STORE"]).exists():
            # In a thread: DBOS refuses its blocking calls beside a running loop.
            maker = threading.Thread(target=make)
            maker.start()
            maker.join()
        self._client = DBOSClient(system_database_url=URL, application_name="bench")
        self._threads = ThreadPoolExecutor(50)
        self._engine = sqlalchemy.create_engine(URL)

    async def close(self) -> None:
        """Close the client."""
        self._threads.shutdown()
        self._engine.dispose()
        self._client.destroy()

    async def one(self, user_id: int, email: str) -> object:
        """Enqueue, blocking."""
        return self._client.enqueue(OPTIONS, user_id, email)

    async def among(self, user_id: int, email: str) -> object:
        """Enqueue in a thread."""
        return await asyncio.get_running_loop().run_in_executor(
            self._threads, self._client.enqueue, OPTIONS, user_id, email
        )

    async def many(self, batch: Sequence[tuple[int, str]]) -> object:
        """Enqueue in one transaction of ours, its way to many at once."""
        with self._engine.begin() as connection:
            return [self._client.enqueue_in_transaction(connection, OPTIONS, *row) for row in batch]


def client() -> DbosClient:
    """Return what enqueues."""
    return DbosClient()


if __name__ == "__main__":
    import benchmarks.peers.dbos as this

    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    this.prepare()
    stop.wait()
    DBOS.destroy(workflow_completion_timeout_sec=0)
