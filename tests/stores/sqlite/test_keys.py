"""The rows of keys in an SQLite file: kept while the key has jobs or a rate, deleted at rest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import apsw

from outlast.brokers.sqlite import SqliteStore
from outlast.brokers.sqlite.tuning import Tuning
from outlast.core.limits import Limit
from outlast.core.settlement import Finish
from outlast.core.topology import Queue, Topology
from outlast.testing.clock import FakeClock
from tests.support.jobs import Desk
from tests.support.polling import until


def keys(path: Path) -> list[Any]:
    """Return the keys that the file knows."""
    db = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        return [key for (key,) in db.execute("select key from lane order by key")]
    finally:
        db.close()


async def test_a_key_without_jobs_is_deleted_at_rest(tmp_path: Path) -> None:
    clock = FakeClock()
    store = SqliteStore(str(tmp_path / "jobs.db"), clock=clock, tuning=Tuning(idle=0.02, retention=0.02))
    await store.open()
    desk = Desk(store, clock)
    await store.declare(Topology((Queue(name="slow", per_key=Limit(rate="1/h", burst=1)),)))
    await desk.publish("mail.1", key="ann")
    await desk.publish("mail.2", key="bob")
    await desk.publish("mail.3", key="cat", delay=1e6)
    await desk.publish("slow.1", key="dan")
    await desk.publish("mail.4", key="eve")
    given = await desk.claim("mail", "slow")
    await desk.settle(*(Finish(each.fence, "succeeded") for each in given if each.message.id != "mail.2"))
    clock.advance(3 * 24 * 3600)  # the records go, then the ids
    await until(lambda: keys(tmp_path / "jobs.db") == ["bob", "cat"], "keys with nothing left are taken away")
    await store.close()


async def test_the_only_key_is_deleted_too(tmp_path: Path) -> None:
    clock = FakeClock()
    store = SqliteStore(str(tmp_path / "jobs.db"), clock=clock, tuning=Tuning(idle=0.02, retention=0.02))
    await store.open()
    desk = Desk(store, clock)
    await desk.declare("mail", records=0, record_ttl=1.0, id_memory=1.0)
    await desk.publish("mail.1", key="ann")
    await desk.claim("mail")
    await desk.finish("mail.1")
    clock.advance(60)
    await until(lambda: keys(tmp_path / "jobs.db") == [], "the key is taken away")
    await store.close()
