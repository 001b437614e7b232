"""The intake: what is taken is stored and then settled; what the store does not take now or ever is told the inbox."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Sequence
from random import Random
from typing import Any

import pytest
from msgspec import Raw, structs

from outlast.aio.clock import SystemClock
from outlast.brokers.memory import MemoryStore
from outlast.core.errors import InvalidArguments, StoreError, StoreUnavailable
from outlast.core.message import Message
from outlast.core.settlement import ACCEPTED, Exists, Full, Published, TooLarge, Unroutable
from outlast.core.store.inbox import Arrival, HeldArrival, RefusedArrival, SettledArrival, StoredArrival
from outlast.core.store.store import Store
from outlast.worker.intake import LATEST, SOONEST, Intake, intakes_of
from outlast.worker.store_link import StoreLink


def message(n: int, queue: str = "billing") -> Message:
    """Return a job."""
    return Message(id=f"{queue}.{n}", queue=queue, kind="bill", args=Raw(b"{}"), enqueued_at=1.0, run_at=1.0)


class ListInbox:
    """An inbox of a list; `settled` is what it was told."""

    def __init__(self, *messages: Message) -> None:
        self.waiting = deque(Arrival(n, each) for n, each in enumerate(messages))
        self.settled: list[SettledArrival] = []
        self.asked: list[Sequence[str]] = []
        self.asking = asyncio.Event()

    def queues(self, names: Sequence[str]) -> list[str]:
        return [each for each in names if each != "plain"]

    async def take(self, queues: Sequence[str], *, limit: int, wait: float) -> list[Arrival]:
        self.asked.append(queues)
        self.asking.set()
        if not self.waiting:
            await asyncio.sleep(wait)
        return [self.waiting.popleft() for _ in range(min(limit, len(self.waiting)))]

    async def settle(self, taken: Sequence[SettledArrival]) -> None:
        self.settled += taken


class AnsweringStore(MemoryStore):
    """A store that answers what it is told to, or raises it."""

    def __init__(self, *answers: Any, spread: bool = False) -> None:
        super().__init__(SystemClock(), max_body=1000)
        self.answers = deque(answers)
        self.published: list[list[Message]] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.capabilities = structs.replace(self.capabilities, spread=spread)

    async def publish(self, messages: Sequence[Message]) -> list[Published]:
        await self.gate.wait()
        self.published.append(list(messages))
        answer = self.answers.popleft() if self.answers else [ACCEPTED] * len(messages)
        if isinstance(answer, Exception):
            raise answer
        return list(answer)


def intake_of(inbox: ListInbox, store: AnsweringStore, told: list[Any] | None = None) -> Intake:
    """Return the intake of the queue billing."""
    link = StoreLink(Store.of(store, "memory:"), SystemClock(), Random(0), reconnect=None, patience=30)

    def tell(messages: Sequence[Message], answers: Sequence[Published]) -> None:
        if told is not None:
            told.extend(zip(messages, answers, strict=True))

    (intake,) = intakes_of(inbox, link, ["billing", "plain"], tell)
    return intake


async def test_what_is_stored_is_settled_then_and_told() -> None:
    inbox, told = ListInbox(message(0), message(1)), list[Any]()
    exists = Exists("billing.1", "id", "bill")
    intake = intake_of(inbox, AnsweringStore([ACCEPTED, exists]), told)
    assert await intake.step(wait=0) == 2
    assert inbox.asked == [["billing"]]
    assert inbox.settled == [StoredArrival(Arrival(n, message(n))) for n in range(2)]
    assert told == [(message(0), ACCEPTED), (message(1), exists)]
    assert await intake.step(wait=0) == 0


@pytest.mark.parametrize(("retry_after", "after"), [(0.0, SOONEST), (1.5, 1.5), (3600.0, LATEST)])
async def test_what_has_no_room_is_kept_for_later(retry_after: float, after: float) -> None:
    inbox, told = ListInbox(message(0), message(1)), list[Any]()
    assert await intake_of(inbox, AnsweringStore([Full(retry_after), ACCEPTED]), told).step(wait=0) == 1
    assert inbox.settled == [HeldArrival(Arrival(0, message(0)), after), StoredArrival(Arrival(1, message(1)))]
    assert told == [(message(1), ACCEPTED)]


async def test_what_the_store_never_takes_is_refused_with_the_reason() -> None:
    inbox = ListInbox(message(0), message(1))
    assert await intake_of(inbox, AnsweringStore([TooLarge(9, 5, "max_bytes"), Unroutable()])).step(wait=0) == 2
    reasons = [each.reason for each in inbox.settled if isinstance(each, RefusedArrival)]
    assert "a body of 9 bytes, more than max_bytes=5" in reasons[0]
    assert "no queue of the store accepts a message for 'billing'" in reasons[1]


async def test_one_message_that_the_store_cannot_read_does_not_hold_up_the_others() -> None:
    inbox = ListInbox(*map(message, range(3)))
    broken = InvalidArguments("args: not these")
    store = AnsweringStore(broken, [ACCEPTED], broken, [ACCEPTED])
    assert await intake_of(inbox, store).step(wait=0) == 3
    assert [type(each) for each in inbox.settled] == [StoredArrival, RefusedArrival, StoredArrival]
    assert [len(each) for each in store.published] == [3, 1, 1, 1]


async def test_a_batch_is_repeated_until_the_store_is_back(caplog: pytest.LogCaptureFixture) -> None:
    inbox = ListInbox(message(0))
    store = AnsweringStore(StoreUnavailable("away"), StoreUnavailable("away"))
    with caplog.at_level(logging.WARNING):
        assert await intake_of(inbox, store).step(wait=0) == 1
    assert inbox.settled == [StoredArrival(Arrival(0, message(0)))]
    assert [each.getMessage() for each in caplog.records] == [
        "the store is away, intake of events is repeated until it is back: away",
        "the store is back",
    ]


async def test_an_error_for_good_ends_it_with_nothing_settled() -> None:
    from outlast.core.errors import StoreCorrupt

    inbox = ListInbox(message(0))
    with pytest.raises(StoreError, match="broken"):
        await intake_of(inbox, AnsweringStore(StoreCorrupt("broken"))).run()
    assert inbox.settled == []


async def test_each_queue_has_an_intake_where_queues_lie_apart() -> None:
    link = StoreLink(
        Store.of(AnsweringStore(spread=True), "memory:"), SystemClock(), Random(0), reconnect=None, patience=30
    )
    found = intakes_of(ListInbox(), link, ["billing", "plain", "mail"], lambda messages, answers: None)
    assert [each.queues for each in found] == [["billing"], ["mail"]]
    assert intakes_of(ListInbox(), link, ["plain"], lambda messages, answers: None) == []


async def test_a_close_ends_a_wait_at_once() -> None:
    inbox = ListInbox()
    intake = intake_of(inbox, AnsweringStore())
    running = asyncio.create_task(intake.run())
    await inbox.asking.wait()
    await intake.close()
    await asyncio.wait_for(running, 10)


async def test_a_close_lets_the_batch_under_way_end() -> None:
    inbox, store = ListInbox(message(0)), AnsweringStore()
    store.gate.clear()
    intake = intake_of(inbox, store)
    running = asyncio.create_task(intake.run())
    await inbox.asking.wait()
    closing = asyncio.create_task(intake.close())
    await asyncio.sleep(0)
    store.gate.set()
    await closing
    await running
    assert inbox.settled == [StoredArrival(Arrival(0, message(0)))]


async def test_a_cancellation_ends_it() -> None:
    inbox = ListInbox()
    running = asyncio.create_task(intake_of(inbox, AnsweringStore()).run())
    await inbox.asking.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
