"""The history in a file: what another program wrote into it, and code that does not know its tables."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import apsw
import pytest

from outlast.brokers.sqlite.store import SqliteStore
from outlast.core.history import STEPS, Cost, QueueSample
from outlast.testing.clock import FakeClock
from tests.support.history_damage import stands_damage
from tests.support.jobs import Desk


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    clock = FakeClock()
    store = SqliteStore(str(tmp_path / "jobs.db"), clock=clock)
    await store.open()
    yield Desk(store, clock)
    await store.close()


def change(tmp_path: Path, *statements: str) -> None:
    """Write to the file as another program would."""
    with apsw.Connection(str(tmp_path / "jobs.db")) as db:
        for sql in statements:
            db.execute(sql)


@pytest.mark.parametrize("bad", ["x'ff'", "'{'", "7", "cast(x'7b22ff227d' as text)"])
async def test_unreadable_rows_are_left_out(
    desk: Desk, tmp_path: Path, bad: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def vandalize() -> None:
        change(
            tmp_path,
            f"update sample set body = {bad} where step = 10 and slot = (select min(slot) from sample where step = 10)",
            f"update journal set body = {bad} where seq = (select min(seq) from journal)",
            "update cost set runs = 'many' where tenant = 'bad'",
        )

    await stands_damage(desk, vandalize, caplog)


async def test_a_number_of_a_source_that_is_none_counts_as_none(desk: Desk, tmp_path: Path) -> None:
    await desk.store.add_costs("w", 5, [Cost(kind="send", runs=1)])
    change(tmp_path, "update cost_source set number = 'x'")
    assert await desk.store.add_costs("w", 6, [Cost(kind="send", runs=1)])
    assert not await desk.store.add_costs("w", 6, [Cost(kind="send", runs=1)])


async def test_a_sample_that_is_there_costs_no_transaction(desk: Desk, tmp_path: Path) -> None:
    await desk.store.keep_samples({"mail": QueueSample(depth=1)})
    holder = apsw.Connection(str(tmp_path / "jobs.db"))
    holder.execute("begin immediate")  # another process writes for long
    assert await desk.store.keep_samples({"mail": QueueSample(depth=2)}) == 0
    holder.execute("rollback")
    holder.close()


async def test_old_samples_and_costs_leave_the_file(desk: Desk, tmp_path: Path) -> None:
    def rows(table: str) -> int:
        db = apsw.Connection(str(tmp_path / "jobs.db"))
        found = int(db.execute(f"select count(*) from {table}").get)
        db.close()
        return found

    await desk.store.keep_samples({"mail": QueueSample(), "bulk": QueueSample()})
    await desk.store.add_costs("w", 1, [Cost(kind="send", runs=1)])
    assert (rows("sample"), rows("cost"), rows("cost_source")) == (4, 1, 1)
    desk.clock.advance(100 * 86400)
    await desk.store.keep_samples({"mail": QueueSample()})
    await desk.store.add_costs("v", 1, [])
    assert (rows("sample"), rows("cost"), rows("cost_source")) == (len(STEPS), 0, 1)
