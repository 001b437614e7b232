"""The judge of a binding whose row was damaged: only its queue gets no copies, until it is declared again."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from msgspec import Raw

from outlast.core.exchanges.changes import row_of
from outlast.core.exchanges.values import Binding, Exchange, ExchangeEvent
from outlast.core.topology import Queue, Topology
from tests.support.jobs import Desk

__all__ = ["BAD", "is_declared_again"]


def _binding(queue: str) -> Binding:
    return Binding(exchange="orders", queue=queue, kind="send", parameter="order", app="shop")


BAD = row_of(_binding("bad"))
"""The name of the row that is damaged; that of queue `a` is beside it."""


async def is_declared_again(desk: Desk, spoil: Callable[[], Awaitable[None]]) -> None:
    """Bind queues a and bad. spoil: damages the row of bad, which no client has read yet."""
    topology = Topology(
        (Queue(name="a"), Queue(name="bad")),
        "shop",
        exchanges=(Exchange(name="orders", type="fanout"),),
        bindings=(_binding("a"), _binding("bad")),
    )
    await desk.store.declare(topology)
    await spoil()
    assert [each.queue for each in (await desk.store.bindings()).bindings] == ["a"]
    assert await _queues(desk, "1") == ["a"]
    await desk.store.declare(topology)
    assert await _queues(desk, "1") == ["a", "bad"]


async def _queues(desk: Desk, id: str) -> list[str]:
    event = ExchangeEvent(id=id, exchange="orders", key="", body=Raw(b"1"), at=desk.clock.time())
    (routed,) = await desk.store.publish_events([event])
    return [each.queue for each in routed.copies]
