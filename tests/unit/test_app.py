"""The facade over the memory store: enqueue, handles, conflicts, bounds, loops and threads."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest
from pydantic import BaseModel

from outlast import (
    BodyTooLarge,
    ConfigurationError,
    Context,
    EnqueueUnknown,
    InvalidArguments,
    JobCancelled,
    JobExpired,
    JobFailed,
    JobNotFound,
    Outlast,
    QueueFull,
    ResultTimeout,
    Retry,
    Settings,
    StoreUnavailable,
    UniqueConflict,
    WrongThread,
)
from outlast.aio.portal import Portal, portal
from outlast.brokers.memory import MemoryStore
from outlast.core.events import Event, JobLost
from outlast.core.message import Message
from outlast.core.settlement import Published


class Receipt(BaseModel):
    order_id: int


shop = Outlast("shop", settings=Settings(url="memory:", max_body=1000, enqueue_timeout=0.05))
shop.queue("small", max_depth=2)


@shop.job
async def receipt(ctx: Context, order_id: int, note: str = "") -> Receipt:
    if note == "follow":
        ctx.enqueue(plain, order_id)
    ctx.progress(1)
    assert (ctx.cancelled, ctx.remaining) == (False, None) or ctx.id != "default.inline"
    return Receipt(order_id=order_id)


@shop.job(queue="small", unique="p:{number}")
def plain(number: int) -> int:
    return number * 2


@shop.job(retry=Retry(attempts=1))
async def fails() -> None:
    raise ValueError("broken")


class TestEnqueue:
    async def test_a_handle_names_the_job_and_its_durability(self) -> None:
        with shop.testing():
            handle = await receipt.enqueue(7)
            assert handle.id.startswith("default.")
            assert (handle.queue, handle.durability, handle.created, handle.conflict) == (
                "default",
                "memory",
                True,
                None,
            )
            assert repr(handle) == f"Handle({handle.id!r}, durability='memory', created=True)"
            assert await handle.status() == "ready"

    async def test_an_id_is_the_same_job(self) -> None:
        with shop.testing() as t:
            job = receipt.with_options(id="order-7")
            first, second = await job.enqueue(7), await job.enqueue(7)
            assert first == second
            assert hash(first) == hash(second)
            assert (second.created, second.conflict) == (False, "id")
            assert len(t.enqueued()) == 1

    async def test_a_held_key_gives_the_job_that_holds_it(self) -> None:
        with shop.testing():
            first, second = await plain.enqueue(1), await plain.enqueue(1)
            assert (second.id, second.created, second.conflict) == (first.id, False, "unique")
            with pytest.raises(UniqueConflict, match="unique key 'plain:p:1' is held") as caught:
                await plain.with_options(on_conflict="raise").enqueue(1)
            assert caught.value.existing == first.id

    async def test_many(self) -> None:
        with shop.testing() as t:
            handles = await shop.enqueue_many(receipt.message(number) for number in range(2345))
            assert len({handle.id for handle in handles}) == 2345
            assert [each.args["order_id"] for each in t.enqueued()] == list(range(2345))
            assert await shop.enqueue_many([]) == []

    async def test_many_again_adds_nothing(self) -> None:
        with shop.testing() as t:
            messages = [receipt.message(1), plain.message(1), plain.message(2)]
            await shop.enqueue_many(messages)
            assert [handle.conflict for handle in await shop.enqueue_many(messages)] == ["id", "id", "id"]
            assert len(t.enqueued()) == 3
            with pytest.raises(UniqueConflict):
                await shop.enqueue_many([plain.message(1)], on_conflict="raise")

    async def test_a_full_queue(self) -> None:
        with shop.testing() as t:
            with pytest.raises(QueueFull, match="queue 'small' is full") as caught:
                await shop.enqueue_many([plain.message(number) for number in range(4)])
            assert caught.value.retry_after > 0
            assert caught.value.__notes__[0] == "2 of the 4 messages in its batch were accepted; repeating all is safe"
            assert (len(caught.value.stored), len(caught.value.unstored)) == (2, 2)
            assert len(t.enqueued()) == 2

    async def test_a_body_that_is_too_large(self) -> None:
        with shop.testing(), pytest.raises(BodyTooLarge, match="'receipt' has a body of 1025 bytes"):
            await receipt.enqueue(1, "x" * 1001)

    async def test_wrong_arguments(self) -> None:
        with shop.testing() as t, pytest.raises(InvalidArguments, match="receipt: order_id"):
            await receipt.enqueue("seven")  # type: ignore[arg-type]
        assert t.enqueued() == []

    async def test_no_answer_in_time_is_unknown_and_may_be_repeated(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with shop.testing() as t:
            publish = MemoryStore.publish

            async def lost(self: MemoryStore, messages: Sequence[Message]) -> list[Published]:
                await publish(self, messages)
                await asyncio.Event().wait()
                raise AssertionError

            monkeypatch.setattr(MemoryStore, "publish", lost)
            with pytest.raises(EnqueueUnknown, match="enqueue_timeout") as caught:
                await receipt.enqueue(7)
            monkeypatch.setattr(MemoryStore, "publish", publish)
            again = await receipt.with_options(id=caught.value.id).enqueue(7)
            assert (again.id, again.conflict) == (caught.value.id, "id")
            assert len(await t.drain()) == 1

    async def test_a_store_that_cannot_open_is_tried_again(self, monkeypatch: pytest.MonkeyPatch) -> None:
        async def away(self: MemoryStore) -> None:
            raise StoreUnavailable("locked")

        with shop.testing():
            with monkeypatch.context() as patch:
                patch.setattr(MemoryStore, "open", away)
                with pytest.raises(StoreUnavailable):
                    await receipt.enqueue(7)
            assert (await receipt.enqueue(7)).created


class TestHandle:
    async def test_result(self) -> None:
        with shop.testing() as t:
            handle = await receipt.enqueue(7)
            with pytest.raises(ResultTimeout, match="is still ready after 0 s"):
                await handle.result(timeout=0)
            waiting = asyncio.create_task(handle.result())
            await t.drain()
            assert await waiting == Receipt(order_id=7)
            assert (await handle.record()).kind == "receipt"
            assert await shop.handle(handle.id).result() == Receipt(order_id=7)
            assert shop.handle(handle.id).durability == "unknown"

    async def test_a_dead_job(self) -> None:
        with shop.testing() as t:
            handle = await fails.enqueue()
            await t.drain()
            with pytest.raises(JobFailed, match=r"is dead \(attempts\): ValueError: broken"):
                await handle.result()

    async def test_a_cancelled_job(self) -> None:
        with shop.testing():
            handle = await fails.enqueue()
            assert await handle.cancel()
            assert not await handle.cancel()
            with pytest.raises(JobCancelled):
                await handle.result()

    async def test_an_expired_job(self) -> None:
        with shop.testing() as t:
            handle = await fails.with_options(expires=5).enqueue()
            t.advance(6)
            with pytest.raises(JobExpired):
                await handle.result()

    async def test_an_unknown_job(self) -> None:
        with shop.testing():
            for call in (shop.handle("mail.none").status, shop.handle("mail.none").cancel):
                with pytest.raises(JobNotFound, match=r"no record of job mail\.none"):
                    await call()

    async def test_not_an_id(self) -> None:
        with pytest.raises(InvalidArguments, match=r"give an id of the form 'queue\.rest'"):
            shop.handle("none")

    async def test_the_result_of_a_kind_that_is_not_declared_here(self) -> None:
        other = Outlast("other", settings=Settings(url="memory:"))
        with shop.testing() as t:
            handle = await receipt.enqueue(7)
            await t.drain()
            with other.testing():
                elsewhere = await other.runtime()
                record = await handle.record()
                assert other.handle(handle.id)._outcome(elsewhere, record) == {"order_id": 7}


class TestCall:
    async def test_just_runs_it(self) -> None:
        with shop.testing() as t:
            assert await receipt(7, note="x") == Receipt(order_id=7)
            assert await plain(4) == 8
            assert t.enqueued() == []

    async def test_with_its_follow_ups(self) -> None:
        with shop.testing() as t:
            await receipt(7, "follow")
            t.assert_enqueued(plain, number=7)


class TestSync:
    async def test_refused_on_a_loops_thread(self) -> None:
        with shop.testing(), pytest.raises(WrongThread, match=r"await \.\.\.enqueue\(\)"):
            plain.enqueue_sync(1)

    async def test_from_a_thread(self) -> None:
        with shop.testing() as t:
            handle = await asyncio.to_thread(plain.enqueue_sync, 1)
            await t.drain()
            assert await handle.result() == 2

    def test_without_any_loop(self) -> None:
        with shop.testing() as t:
            assert plain.enqueue_sync(1).created
            assert [record.state for record in t.drain_sync()] == ["succeeded"]

    def test_a_portal_closes_what_was_opened_on_it_and_starts_again(self) -> None:
        own, closed = Portal(), []

        async def close() -> None:
            closed.append(asyncio.get_running_loop())

        async def loop() -> asyncio.AbstractEventLoop:
            return asyncio.get_running_loop()

        first = own.run(loop)
        own.at_stop(close)
        own.stop()
        own.stop()
        assert closed == [first]
        assert own.loop is None
        assert own.run(loop) is not first
        own.stop()

    def test_a_portal_whose_thread_cannot_start_tries_again_at_the_next_use(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        own = Portal()

        async def works() -> bool:
            return True

        def refuses(thread: threading.Thread) -> None:
            raise RuntimeError("can't create new thread at interpreter shutdown")

        with monkeypatch.context() as patched:
            patched.setattr(threading.Thread, "start", refuses)
            for _ in range(2):
                with pytest.raises(RuntimeError, match="interpreter shutdown"):
                    own.submit(works).result(5)
        assert own.loop is None
        assert own.run(works)
        own.stop()

    def test_a_portal_calls_a_closer_once(self) -> None:
        own, calls = Portal(), []

        async def close() -> None:
            calls.append(1)

        own.run(close)
        for _ in range(3):
            own.at_stop(close)
        own.stop()
        assert len(calls) == 2

    def test_one_for_a_process(self) -> None:
        assert portal() is portal()


class TestConnections:
    def test_a_memory_store_is_one_for_all_loops(self) -> None:
        app = Outlast("app", settings=Settings(url="memory:"))
        job = app.job(kind="plain")(plain.handler)
        handle = job.enqueue_sync(1)

        async def look() -> str:
            async with app:
                return await handle.status()

        assert asyncio.run(look()) == asyncio.run(look()) == "ready"

    async def test_it_opens_once_for_all_that_come_together(self, monkeypatch: pytest.MonkeyPatch) -> None:
        opened: list[int] = []
        monkeypatch.setattr(MemoryStore, "open", lambda self: _note(opened))
        app = Outlast("app", settings=Settings(url="memory:"))
        first, *others = await asyncio.gather(*(app.runtime() for _ in range(10)))
        assert all(other is first for other in others)
        assert opened == [1]
        await app.close()
        await app.close()
        assert await app.runtime() is not first
        await app.close()

    async def test_a_queue_that_is_declared_late_is_made_known(self) -> None:
        app = Outlast("app", settings=Settings(url="memory:"))
        async with app:
            app.queue("late", max_depth=1)
            job = app.job(kind="plain", queue="late")(plain.handler)
            await job.enqueue(1)
            with pytest.raises(QueueFull):
                await job.enqueue(2)

    async def test_a_queue_twice(self) -> None:
        app = Outlast("app")
        assert app.queue("mail", max_depth=1).max_depth == 1
        with pytest.raises(ConfigurationError, match="declared twice with different settings"):
            app.queue("mail", max_depth=2)


async def _note(opened: list[int]) -> None:
    opened.append(1)


class TestObservers:
    async def test_one_that_fails_is_told_once_and_changes_nothing(self, caplog: pytest.LogCaptureFixture) -> None:
        app = Outlast("app", settings=Settings(url="memory:"))
        seen: list[Event] = []

        @app.observe
        def broken(event: Event) -> None:
            raise RuntimeError("observer")

        app.observe(seen.append)
        async with app:
            runtime = await app.runtime()
            with caplog.at_level(logging.ERROR, "outlast"):
                runtime.emit(JobLost("a.1", "a"))
                runtime.emit(JobLost("a.2", "a"))
        assert seen == [JobLost("a.1", "a"), JobLost("a.2", "a")]
        assert len(caplog.records) == 1
        assert "its further failures are not logged" in caplog.records[0].message


async def test_what_is_no_message_is_named_and_the_way_to_make_one() -> None:
    shop = Outlast("shop", settings=Settings(url="memory:"))
    async with shop:
        with pytest.raises(InvalidArguments, match=r"enqueue_many: message 0: 5 is not a message: give job\.message\("):
            await shop.enqueue_many([5])  # type: ignore[list-item]


def test_a_handle_of_what_is_no_id() -> None:
    with pytest.raises(InvalidArguments, match="give an id of the form"):
        Outlast("shop").handle("mail.\ud800")


async def test_an_app_whose_queues_belong_to_another_leaves_nothing_open(tmp_path: Path) -> None:
    settings = Settings(url=f"sqlite:{tmp_path / 'jobs.db'}")
    shop, blog = Outlast("shop", settings=settings), Outlast("blog", settings=settings)
    shop.queue("mail")
    blog.queue("mail")
    async with shop:
        before = set(threading.enumerate())
        with pytest.raises(ConfigurationError, match="belongs to app 'shop'"):
            async with blog:
                raise AssertionError
        left = {each.name for each in set(threading.enumerate()) - before}
    assert not any(name.startswith("outlast") for name in left)
