"""Updates of one unique key under load, failures, cancels and kills: the newest text is the last one that is done."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any, Final

import psutil
import pytest

from outlast import Outlast
from outlast.enqueue.handle import Handle
from outlast.settings import Settings
from tests.faults.kill.updates_app import app as declared
from tests.faults.kill.updates_app import index
from tests.support.ledger import Ledger
from tests.support.polling import until
from tests.support.servers.redis_server import RedisServer
from tests.support.stage import declaring_alike
from tests.support.supervise import Supervised, supervised

TARGET: Final = "tests.faults.kill.updates_app:app"
DOCUMENTS: Final = 4
TEXTS: Final = 40
KILLS: Final = 4


@pytest.fixture(params=["sqlite", "redis"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        yield f"sqlite:{tmp_path}/jobs.db"
        return
    server = RedisServer()
    server.start()
    yield server.url
    server.remove()


async def has(ledger: Ledger, starts: int, name: str = "") -> None:
    """Wait until as many jobs have started, or this one."""
    await until(lambda: name in ledger.names("start") or (not name and len(ledger.read("start")) >= starts), name)


async def save(app: Outlast, document: int, ledger: Ledger, random: Random) -> None:
    """Save a document again and again; some saves cancel the job before, and enqueue without `replace`."""

    async def enqueue(text: int, *, plain: bool = False) -> Handle[Any]:
        bound = index.with_options(on_conflict="existing") if plain else index
        (handle,) = await app.send([bound.message(document, text)])
        return handle

    last = await enqueue(0)
    for text in range(1, TEXTS):
        if random.random() < 0.5:  # else several saves fall into one run
            await has(ledger, 0, f"{document}:{text - 1}")
        plain = random.random() < 0.2
        if plain:
            await last.cancel()
        handle = await enqueue(text, plain=plain)
        if not handle.created:  # an older job waits still: the one that was cancelled had ended
            handle = await enqueue(text)
        assert handle.created, (document, text)
        last = handle


async def kill_some(running: Supervised, ledger: Ledger, random: Random) -> None:
    """Kill a worker each time that as many jobs have started as are needed for all kills to fall into the load."""
    for n in range(1, KILLS + 1):
        await has(ledger, n * DOCUMENTS)
        pids = running.workers()
        if pids:
            with suppress(psutil.NoSuchProcess):
                psutil.Process(random.choice(pids)).kill()


async def test_the_newest_is_the_last_that_is_done(url: str, tmp_path: Path) -> None:
    ledger, log, random = Ledger(tmp_path / "ledger"), tmp_path / "log", Random(7)
    environ = {
        "OUTLAST_FAULTS_URL": url,
        "OUTLAST_FAULTS_LEASE": "20",
        "OUTLAST_FAULTS_KILL_GRACE": "0.3",
        "OUTLAST_TEST_LEDGER": str(ledger.path),
    }
    app = declaring_alike(declared, Settings(url=url, enqueue_timeout=60))
    await app.runtime()
    with supervised(TARGET, environ, log, processes=2, concurrency=4) as running:
        async with asyncio.TaskGroup() as group:
            group.create_task(kill_some(running, ledger, random))
            for document in range(DOCUMENTS):
                group.create_task(save(app, document, ledger, Random(document)))

        def all_done() -> bool:
            done = set(ledger.names("done"))
            return all(f"{document}:{TEXTS - 1}" in done for document in range(DOCUMENTS))

        await until(all_done, "the newest texts are done")
        store = (await app.runtime()).store

        async def at_rest() -> bool:
            return (await store.broker.stats(["default"]))["default"].depth == 0

        await until(at_rest, "no job is left")
    await app.close()
    for document in range(DOCUMENTS):
        entries = [each for each in ledger.read() if each.name.startswith(f"{document}:")]
        done = [each.name for each in entries if each.word == "done"]
        assert done[-1] == f"{document}:{TEXTS - 1}", (done, log.read_text()[-3000:])
        texts = [int(name.partition(":")[2]) for name in done]
        assert texts == sorted(texts), "an older text was done after a newer one"
        for at, entry in enumerate(entries):
            if entry.word == "done":
                began = max(n for n in range(at) if entries[n].word == "start" and entries[n].name == entry.name)
                assert at == began + 1, f"two ran at once: {entries[began : at + 1]}"
