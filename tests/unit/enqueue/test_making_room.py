"""Replacing, shedding and the bounds of a queue as the application sees them, over the memory store."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from outlast import (
    BodyTooLarge,
    ConfigurationError,
    Context,
    JobCancelled,
    JobDropped,
    JobExpired,
    Limit,
    Outlast,
    QueueFull,
    Settings,
    Unique,
    UniqueConflict,
)
from outlast.testing import Testing

shop = Outlast("shop", settings=Settings(url="memory:"))
shop.queue("small", max_depth=2, on_full="shed")
shop.queue("light", max_bytes=40, max_age="1m", per_key=Limit(max_depth=1, max_bytes=30))
dropped: list[JobDropped] = []
shop.observe(JobDropped)(dropped.append)


@shop.job(unique="sync:{user}", on_conflict="replace")
async def sync(user: int, page: int = 0) -> None: ...


@shop.job(unique=True, on_conflict="raise")
async def once(user: int) -> None: ...


@shop.job(queue="small")
async def small(number: int) -> None: ...


@shop.job(queue="light", key="user")
async def light(user: str, text: str = "") -> None: ...


@shop.job
async def plain(ctx: Context, user: int) -> None:
    ctx.enqueue(sync, user, 7)


@pytest.fixture
def t() -> Iterator[Testing]:
    dropped.clear()
    with shop.testing() as testing:
        yield testing


class TestReplacing:
    async def test_a_declared_job_replaces(self, t: Testing) -> None:
        first, second = await sync.enqueue(1, 1), await sync.enqueue(1, 2)
        assert (second.created, second.replaced, first.replaced) == (True, first.id, None)
        record = await first.record()
        assert (record.state, record.reason) == ("cancelled", "replaced")
        with pytest.raises(JobCancelled, match=r"was cancelled \(replaced\)"):
            await first.result(timeout=0)
        assert dropped == [JobDropped(first.id, "default", "replaced", second.id)]

    async def test_an_enqueue_may_say_otherwise(self, t: Testing) -> None:
        first = await sync.enqueue(1)
        existing = await sync.with_options(on_conflict="existing").enqueue(1)
        assert (existing.id, existing.conflict, existing.replaced) == (first.id, "unique", None)
        with pytest.raises(UniqueConflict):
            await sync.with_options(on_conflict="raise").enqueue(1)
        later = await once.enqueue(1)
        assert (await once.with_options(on_conflict="replace").enqueue(1)).replaced == later.id

    async def test_a_declared_job_raises(self, t: Testing) -> None:
        await once.enqueue(1)
        with pytest.raises(UniqueConflict):
            await once.enqueue(1)

    @pytest.mark.parametrize(
        ("unique", "on_conflict", "replaces"),
        [
            ("k", "replace", True),
            (Unique("k"), "replace", True),
            (Unique("k", replace=True), None, True),
            (Unique("k", replace=True), "existing", False),
            (Unique("k"), None, False),
        ],
    )
    async def test_the_last_word_is_the_enqueues(
        self, t: Testing, unique: Any, on_conflict: Any, replaces: bool
    ) -> None:
        await plain.with_options(unique="k").enqueue(1)
        handle = await plain.with_options(unique=unique, on_conflict=on_conflict).enqueue(2)
        assert (handle.replaced is not None) is replaces

    async def test_replace_without_a_key_is_refused(self, t: Testing) -> None:
        with pytest.raises(ConfigurationError, match="job 'plain': on_conflict='replace' needs a unique key"):
            await plain.with_options(on_conflict="replace").enqueue(1)

    async def test_many_at_once(self, t: Testing) -> None:
        handles = await shop.enqueue_many(sync.message(1, page) for page in range(3))
        assert [handle.replaced for handle in handles] == [None, handles[0].id, handles[1].id]
        with pytest.raises(ConfigurationError, match="enqueue_many: on_conflict='replace'"):
            await shop.enqueue_many([sync.message(1)], on_conflict="replace")  # type: ignore[arg-type]

    async def test_a_follow_up_replaces(self, t: Testing) -> None:
        first = await sync.with_options(delay=60).enqueue(5)
        await plain.enqueue(5)
        await t.drain()
        assert (await first.record()).reason == "replaced"
        assert [each.args for each in t.enqueued(sync)] == [{"user": 5}, {"user": 5, "page": 7}]

    def test_unique_says_what_is_wrong(self) -> None:
        with pytest.raises(ConfigurationError, match=r"Unique\(replace=1\): give True or False"):
            Unique("k", replace=1)  # type: ignore[arg-type]


class TestBounds:
    async def test_a_shed_job_is_told_of(self, t: Testing) -> None:
        first = await small.enqueue(1)
        await small.enqueue(2)
        third = await small.enqueue(3)
        assert dropped == [JobDropped(first.id, "small", "shed", third.id)]
        with pytest.raises(JobExpired, match=r"expired before it ran \(shed\)"):
            await first.result(timeout=0)

    async def test_the_error_names_the_bound(self, t: Testing) -> None:
        await light.enqueue("a")
        with pytest.raises(QueueFull, match=r"queue 'light' is full for this key \(per_key.max_depth\)") as of_key:
            await light.enqueue("a")
        assert of_key.value.bound == "per_key.max_depth"
        with pytest.raises(QueueFull, match=r"queue 'light' is full \(max_bytes\): try again in 60 s, raise max_bytes"):
            await light.enqueue("b", "x" * 7)
        with pytest.raises(BodyTooLarge, match=r"more than per_key.max_bytes=30: .* raise the queue's per_key"):
            await light.enqueue("b", "x" * 10)
        with pytest.raises(BodyTooLarge, match=r"more than max_bytes=40"):
            await light.enqueue("b", "x" * 20)

    async def test_age(self, t: Testing) -> None:
        await light.enqueue("a")
        t.advance(61)
        with pytest.raises(QueueFull, match=r"\(max_age\)"):
            await light.enqueue("a")
