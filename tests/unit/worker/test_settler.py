"""On a store with its queues on several servers, each queue has a settler of its own."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from outlast.core.message import Fence
from outlast.core.settlement import Release
from outlast.worker.settler import Settlers


class Kept:
    """Keeps the settlements of one queue."""

    def __init__(self) -> None:
        self.added: list[Any] = []
        self.closed = False

    def add(self, run: Any, settlement: Any) -> None:
        self.added.append((run, settlement))

    async def close(self) -> None:
        self.closed = True


async def test_each_queue_has_one_settler_and_all_are_closed() -> None:
    made: dict[str, Kept] = {}

    def make(queue: str) -> Any:
        assert queue not in made
        made[queue] = Kept()
        return made[queue]

    settlers, run = Settlers(make), SimpleNamespace()
    mail, more, bills = (
        Release(Fence(f"{queue}.a", queue, token)) for queue, token in (("mail", 1), ("mail", 2), ("bills", 3))
    )
    for settlement in (mail, bills, more):
        settlers.add(run, settlement)  # type: ignore[arg-type]
    assert {queue: each.added for queue, each in made.items()} == {
        "mail": [(run, mail), (run, more)],
        "bills": [(run, bills)],
    }
    await settlers.close()
    assert all(each.closed for each in made.values())
