"""The bindings that a process publishes by: when it reads them, and how often."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from msgspec import Raw

from outlast.brokers.expansion import MOST_COPIES, Expansion
from outlast.core.errors import ConfigurationError, StoreUncertain
from outlast.core.exchanges.router import STEP
from outlast.core.exchanges.values import Binding, Bindings, Exchange, ExchangeEvent, Routed
from outlast.core.message import Message
from outlast.core.settlement import ACCEPTED, Published


class Shelf:
    """Bindings that a test changes. A read takes the bindings of its begin, and ends when `let` is set."""

    def __init__(self) -> None:
        self.kept = Bindings()
        self.reads = 0
        self.stored = 0
        self.let = asyncio.Event()
        self.let.set()
        self.expansion = Expansion(self.load, self.store)

    def bind(self, *queues: str, exchange: str = "orders") -> None:
        """Declare the exchange with these queues, as a new version."""
        bindings = [Binding(exchange=exchange, queue=queue, kind="k", parameter="event") for queue in queues]
        exchanges = {each.name: each for each in (*self.kept.exchanges, Exchange(name=exchange, type="fanout"))}
        self.kept = Bindings(self.kept.version + 1, tuple(exchanges.values()), tuple(bindings))

    async def load(self) -> Bindings:
        self.reads += 1
        found = self.kept
        await self.let.wait()
        return found

    async def store(self, version: int, messages: Sequence[Message]) -> list[Published] | None:
        await asyncio.sleep(0)
        if version != self.kept.version:
            return None
        self.stored += len(messages)
        return [ACCEPTED] * len(messages)

    async def publish(self, exchange: str = "orders") -> Routed:
        (routed,) = await self.expansion.publish(
            [ExchangeEvent(id="1", exchange=exchange, key="", body=Raw(b"1"), at=1.0)]
        )
        return routed


def queues_of(routed: Routed) -> list[str]:
    return [copy.queue for copy in routed.copies]


async def test_calls_that_find_a_change_together_read_it_once() -> None:
    shelf = Shelf()
    shelf.bind("mail")
    found = await asyncio.gather(*(shelf.publish() for _ in range(50)))
    assert [queues_of(each) for each in found] == [["mail"]] * 50
    assert shelf.reads == 1
    shelf.bind("billing", "mail")
    found = await asyncio.gather(*(shelf.publish() for _ in range(50)))
    assert [queues_of(each) for each in found] == [["billing", "mail"]] * 50
    assert shelf.reads == 2


async def test_many_bindings_are_compiled_in_steps_between_which_the_loop_turns() -> None:
    shelf = Shelf()
    shelf.bind(*(f"q{number}" for number in range(20 * STEP)))
    publish, turns = asyncio.ensure_future(shelf.publish()), 0
    while not publish.done():
        await asyncio.sleep(0)
        turns += 1
    assert turns >= 20
    assert len((await publish).copies) == 20 * STEP


async def test_a_change_during_a_read_is_read_once_more() -> None:
    shelf = Shelf()
    shelf.bind("mail")
    shelf.let.clear()
    publishes = [asyncio.ensure_future(shelf.publish()) for _ in range(20)]
    while shelf.reads == 0:
        await asyncio.sleep(0)
    shelf.bind("billing")
    shelf.let.set()
    assert [queues_of(each) for each in await asyncio.gather(*publishes)] == [["billing"]] * 20
    assert shelf.reads <= 3


async def test_an_exchange_that_is_declared_while_others_read_is_found() -> None:
    shelf = Shelf()
    shelf.bind("mail")
    shelf.let.clear()
    first = asyncio.ensure_future(shelf.publish())
    while shelf.reads == 0:
        await asyncio.sleep(0)
    shelf.bind("stock", exchange="goods")
    second = asyncio.ensure_future(shelf.publish("goods"))
    await asyncio.sleep(0)
    shelf.let.set()
    assert queues_of(await second) == ["stock"]
    await first


async def test_a_call_that_is_cancelled_in_its_read_leaves_the_next_one_its_own() -> None:
    shelf = Shelf()
    shelf.bind("mail")
    shelf.let.clear()
    first, second = asyncio.ensure_future(shelf.publish()), asyncio.ensure_future(shelf.publish())
    while shelf.reads == 0:
        await asyncio.sleep(0)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    shelf.let.set()
    assert queues_of(await second) == ["mail"]


async def test_an_unknown_exchange_is_told_by_a_read_of_its_own() -> None:
    shelf = Shelf()
    shelf.bind("mail")
    await shelf.publish()
    with pytest.raises(ConfigurationError, match="exchange 'goods' is not declared"):
        await shelf.publish("goods")
    assert shelf.reads == 2


async def test_an_exchange_that_is_removed_between_two_steps_of_a_publish_is_told_as_uncertain() -> None:
    shelf = Shelf()
    shelf.bind("mail")
    events = [
        ExchangeEvent(id=str(n), exchange="orders", key="", body=Raw(b"1"), at=1.0) for n in range(MOST_COPIES + 1)
    ]
    publish = asyncio.ensure_future(shelf.expansion.publish(events))
    while not shelf.stored:
        await asyncio.sleep(0)
    shelf.kept = Bindings(shelf.kept.version + 1)
    with pytest.raises(StoreUncertain, match=f"of {MOST_COPIES + 1} events the first {MOST_COPIES} are kept"):
        await publish
