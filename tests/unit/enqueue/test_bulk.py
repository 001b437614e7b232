"""A bulk that fails in its middle tells which jobs are stored, and which messages can be sent again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from itertools import chain
from typing import Any

import pytest

from outlast import EnqueueUnknown, InvalidArguments, Outlast, QueueFull, UniqueConflict
from outlast.brokers.memory.store import MemoryStore
from outlast.core.errors import StoreUncertain
from outlast.core.message import Message
from outlast.core.settlement import Published
from outlast.enqueue.bulk import BATCH

shop = Outlast("bulk")
shop.queue("small", max_depth=BATCH + 10)


@shop.job(queue="q")
async def count(n: int) -> None: ...


@shop.job(queue="small", unique="{n}")
async def few(n: int) -> None: ...


async def numbers() -> list[int]:
    """Return what is stored, by number."""
    return sorted(record.args["n"] for record in (await stored()).values())


async def stored() -> dict[str, Any]:
    return {each.id: each for each in await (await shop.runtime()).store.records.get(made) if each is not None}


made: list[str] = []


def messages(number: int, job: Any = count) -> Iterator[Message]:
    """Yield messages, and note their ids."""
    made.clear()
    for n in range(number):
        message = job.message(n)
        made.append(message.id)
        yield message


async def test_an_iterable_that_raises() -> None:
    def rows() -> Iterator[Message]:
        yield from messages(BATCH + 500)
        raise LookupError("row 1500")

    with shop.testing():
        with pytest.raises(LookupError) as caught:
            await shop.enqueue_many(rows())
        error: Any = caught.value
        assert list(error.stored) == made[:BATCH]
        assert [each.id for each in error.unstored] == made[BATCH:]
        assert error.__notes__[0].startswith(
            "enqueue_many: 1,000 jobs stored (error.stored has the ids), 500 more taken"
        )
        assert set(await stored()) == set(error.stored)
        assert all(handle.created for handle in await shop.enqueue_many(error.unstored))
        assert await numbers() == list(range(BATCH + 500))


async def test_an_item_that_is_no_message() -> None:
    with shop.testing():
        rows = messages(3 * BATCH)
        with pytest.raises(
            InvalidArguments, match=r"message 1200: 'seven' is not a message: give job\.message"
        ) as caught:
            await shop.enqueue_many(chain([next(rows) for _ in range(BATCH + 200)], ["seven"], rows))  # type: ignore[list-item]
        assert list(caught.value.stored) == made[:BATCH]
        assert [each.id for each in caught.value.unstored] == made[BATCH : 2 * BATCH - 1]
        handles = await shop.enqueue_many(chain(caught.value.unstored, rows))  # to go on
        assert len(handles) == 2 * BATCH
        assert await numbers() == list(range(3 * BATCH))


async def test_a_batch_without_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    publish = MemoryStore.publish

    async def lost(self: MemoryStore, batch: Sequence[Message]) -> list[Published]:
        answers = await publish(self, batch)
        if len(batch) < BATCH:
            raise StoreUncertain("the connection broke")
        return answers

    with shop.testing():
        monkeypatch.setattr(MemoryStore, "publish", lost)
        with pytest.raises(EnqueueUnknown, match=r"and 4 more may or may not have been accepted") as caught:
            await shop.enqueue_many(messages(BATCH + 5))
        monkeypatch.setattr(MemoryStore, "publish", publish)
        assert list(caught.value.stored) == made[:BATCH]
        assert list(caught.value.ids) == [each.id for each in caught.value.unstored] == made[BATCH:]
        again = await shop.enqueue_many(caught.value.unstored)
        assert [each.conflict for each in again] == ["id"] * 5
        assert await numbers() == list(range(BATCH + 5))


async def test_a_batch_that_the_queue_takes_in_part() -> None:
    with shop.testing():
        with pytest.raises(QueueFull) as caught:
            await shop.enqueue_many(messages(BATCH + 30, few))
        assert list(caught.value.stored) == made[: BATCH + 10]
        assert [each.id for each in caught.value.unstored] == made[BATCH + 10 :]
        assert "1,010 jobs stored" in caught.value.__notes__[-1]


async def test_a_held_unique_key() -> None:
    with shop.testing():
        held = await few.enqueue(3)
        with pytest.raises(UniqueConflict) as caught:
            await shop.enqueue_many(messages(5, few), on_conflict="raise")
        assert caught.value.existing == held.id
        assert list(caught.value.stored) == [*made[:3], made[4]]
        assert [each.id for each in caught.value.unstored] == [made[3]]


async def test_a_cancelled_bulk(monkeypatch: pytest.MonkeyPatch) -> None:
    publish, waiting = MemoryStore.publish, asyncio.Event()

    async def slow(self: MemoryStore, batch: Sequence[Message]) -> list[Published]:
        if len(batch) < BATCH:
            waiting.set()
            await asyncio.Event().wait()
        return await publish(self, batch)

    with shop.testing():
        monkeypatch.setattr(MemoryStore, "publish", slow)
        task = asyncio.create_task(shop.enqueue_many(messages(BATCH + 5)))
        await waiting.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError) as caught:
            await task
        error: Any = caught.value
        assert list(error.stored) == made[:BATCH]
        assert [each.id for each in error.unstored] == made[BATCH:]


async def rows_later() -> AsyncIterator[Message]:
    yield count.message(1)


@pytest.mark.parametrize("wrong", [7, None, "no", rows_later])
async def test_what_is_no_iterable_of_messages(wrong: Any) -> None:
    with shop.testing(), pytest.raises(InvalidArguments, match=r"enqueue_many: .*give job\.message") as caught:
        given: Any = count.message(1) if wrong is None else wrong() if callable(wrong) else wrong
        await shop.enqueue_many(given)
    assert (caught.value.stored, caught.value.unstored) == ((), ())
    assert not hasattr(caught.value, "__notes__")
