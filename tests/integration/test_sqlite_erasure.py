"""What is erased from an SQLite file is gone from its bytes, not only from its tables (rows that fit into a page)."""

from __future__ import annotations

from pathlib import Path

import pytest

from outlast.brokers.sqlite import SqliteStore
from outlast.core.message import Message
from outlast.core.protocols import Purge
from outlast.core.settlement import Finish, Note, Retry
from outlast.testing.clock import FakeClock
from tests.support.jobs import Desk, failure, raw

ANN = "ann@example.org"


def anns(desk: Desk, rest: str, size: int) -> Message:
    args = {"email": ANN, "text": ANN * size}
    return desk.message(f"mail.{rest}", args=args, key=ANN, unique=f"{ANN}:{rest}")


@pytest.mark.parametrize("size", [1, 100])
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
        Retry(desk.fence("mail.1"), clock.time() + 5, 2, failure(1, f"{ANN} bounced")),
        Finish(desk.fence("mail.2"), "dead", "gave-up", error=failure(1, f"{ANN} bounced")),
    )
    answer = await desk.do(Purge(key=ANN))
    assert answer.changed == 50
    await store.close()
    left = {path.name: path.read_bytes().count(ANN.encode()) for path in tmp_path.iterdir() if path.is_file()}
    assert set(left.values()) == {0}
    again = SqliteStore(str(tmp_path / "jobs.db"), clock=clock)
    await again.open()
    assert (await again.stats(["mail"]))["mail"].depth == 50
    await again.close()
