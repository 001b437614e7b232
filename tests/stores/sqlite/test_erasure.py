"""Purged content disappears from the bytes of the file, not only from its tables; that of long rows too."""

from __future__ import annotations

from pathlib import Path

import pytest

from outlast.brokers.sqlite import SqliteStore
from outlast.brokers.sqlite.tuning import Tuning
from outlast.core.message import Message
from outlast.core.settlement import Finish, Note, Reschedule
from outlast.core.store.control import Purge
from outlast.testing.clock import FakeClock
from tests.support.jobs import Desk, failure, raw
from tests.support.polling import until
from tests.support.sqlite_file import traces

ANN = "ann@example.org"


def anns(desk: Desk, rest: str, size: int) -> Message:
    args = {"email": ANN, "text": ANN * size}
    return desk.message(f"mail.{rest}", args=args, key=ANN, unique=f"{ANN}:{rest}")


@pytest.mark.parametrize("size", [1, 134, 1334])  # up to 2,000 and 20,000 bytes
async def test_a_purge_by_key_leaves_nothing_in_the_files(tmp_path: Path, size: int) -> None:
    clock = FakeClock()
    store = SqliteStore(str(tmp_path / "jobs.db"), clock=clock)
    await store.open()
    desk = Desk(store, clock)
    await desk.publish(*(f"mail.bob-{number}" for number in range(50)), key="bob")
    await store.publish([anns(desk, str(number), size) for number in range(50)])
    await desk.claim("mail")
    last = desk.fence("mail.0")
    await store.save([Note(last, "progress", raw({"to": ANN}))])
    await desk.settle(
        Finish(last, "succeeded", result=raw(ANN), result_ttl=60.0),
        Reschedule(desk.fence("mail.1"), clock.time() + 5, 2, failure(1, f"{ANN} bounced")),
        Finish(desk.fence("mail.2"), "dead", "gave-up", error=failure(1, f"{ANN} bounced")),
    )
    answer = await desk.do(Purge(key=ANN))
    assert answer.changed == 50
    await store.close()
    assert traces(tmp_path / "jobs.db", ANN) == 0
    again = SqliteStore(str(tmp_path / "jobs.db"), clock=clock)
    await again.open()
    assert (await again.stats(["mail"]))["mail"].depth == 50
    await again.close()


async def test_another_process_erases_the_purged_jobs_of_a_dead_one(tmp_path: Path) -> None:
    """The wish is in the file: here the first store never tidies up, and the second one does."""
    clock = FakeClock()
    first = SqliteStore(str(tmp_path / "jobs.db"), clock=clock, tuning=Tuning(idle=1e6))
    await first.open()
    desk = Desk(first, clock)
    await first.publish([anns(desk, str(number), 1334) for number in range(20)])
    await desk.claim("mail")
    await desk.do(Purge(key=ANN))
    assert traces(tmp_path / "jobs.db", ANN) > 0
    second = SqliteStore(str(tmp_path / "jobs.db"), clock=clock, tuning=Tuning(idle=0.05, vacuum_pages=7))
    await second.open()
    await until(lambda: traces(tmp_path / "jobs.db", ANN) == 0, "nothing of it is left")
    await second.close()
    await first.close()


async def test_a_busy_store_erases_too(tmp_path: Path) -> None:
    clock = FakeClock()
    store = SqliteStore(str(tmp_path / "jobs.db"), clock=clock, tuning=Tuning(idle=0.05, vacuum_pages=7))
    await store.open()
    desk = Desk(store, clock)
    await store.publish([anns(desk, str(number), 1334) for number in range(20)])
    await desk.claim("mail")
    await desk.do(Purge(key=ANN))
    number = 0
    while traces(tmp_path / "jobs.db", ANN):
        for _ in range(10):
            number += 1
            await desk.publish(f"mail.more-{number}", args={"text": "x" * 9000})
            await desk.claim("mail")
            await desk.finish(f"mail.more-{number}")
    await store.close()
