"""A follow-up's id leads to a job, a conflict is told, and no event is sent for a job that was not stored."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from outlast import ConfigurationError, Context, JobEnqueued, JobRefused, Outlast, Unique

shop = Outlast("follow")
events: list[JobEnqueued | JobRefused] = []
shop.observe(JobEnqueued, JobRefused)(lambda event: events.append(event))


@shop.job(unique="notify:{user}", queue="notes")
async def notify(user: int) -> str:
    return f"told {user}"


@shop.job(queue="notes")
async def other(user: int) -> str:
    return "other"


@shop.job
async def parent(ctx: Context, how: str) -> str:
    follow_up = ctx.enqueue(HOW[how], 1)
    return (await follow_up).id


SHARED = Unique("shared", scope="queue")
HOW: dict[str, Any] = {
    "plain": other,
    "unique": notify,
    "replace": notify.with_options(on_conflict="replace"),
    "raise": notify.with_options(on_conflict="raise"),
    "own id": notify.with_options(id="own"),
    "shared": notify.with_options(unique=SHARED),
}


async def followed(t: Any, how: str) -> str:
    """Run a parent; return the id of its follow-up. `events` has the events since."""
    t.clock.advance(1)
    handle = await parent.enqueue(how)
    events.clear()
    await t.drain()
    result: str = await handle.result(0)
    return result


async def test_an_id_whose_unique_key_another_job_holds_leads_to_that_job() -> None:
    with shop.testing() as t:
        holder = await notify.with_options(delay=60).enqueue(1)
        follow_up = shop.handle(await followed(t, "unique"))
        assert follow_up.id != holder.id
        assert (await follow_up.record()).id == holder.id
        assert events == []
        assert [each.id for each in t.enqueued(notify)] == [holder.id]
        t.clock.advance(61)
        await t.drain()
        assert await follow_up.result(0) == "told 1"


async def test_cancelling_it_cancels_that_job() -> None:
    with shop.testing() as t:
        holder = await notify.with_options(delay=60).enqueue(1)
        assert await shop.handle(await followed(t, "unique")).cancel()
        assert await holder.status() == "cancelled"


@pytest.mark.parametrize("how", ["plain", "unique", "own id", "replace"])
async def test_one_that_is_stored_is_told_once(how: str) -> None:
    with shop.testing() as t:
        id_ = await followed(t, how)
        told = [each for each in events if each.id == id_]
        assert [type(each) for each in told] == [JobEnqueued]
        assert await shop.handle(id_).status() == "succeeded"


async def test_one_that_replaces() -> None:
    with shop.testing() as t:
        holder = await notify.with_options(delay=60).enqueue(1)
        id_ = await followed(t, "replace")
        assert (await shop.handle(id_).record()).id == id_
        assert (await holder.record()).reason == "replaced"
        assert [each.id for each in events] == [id_]


async def test_one_that_was_there_before_is_not_told_again() -> None:
    with shop.testing() as t:
        before = await notify.with_options(id="own", delay=60).enqueue(1)
        assert await followed(t, "own id") == before.id
        assert events == []


@pytest.mark.parametrize(
    ("how", "first", "what"),
    [
        ("own id", other.with_options(id="own"), "id"),
        ("shared", other.with_options(unique=SHARED, delay=9), "unique key"),
    ],
)
async def test_one_that_another_kind_keeps_out_is_logged(
    caplog: pytest.LogCaptureFixture, how: str, first: Any, what: str
) -> None:
    with shop.testing() as t, caplog.at_level(logging.ERROR, "outlast.worker"):
        held = await first.enqueue(1)
        id_ = await followed(t, how)
        assert [(each.id, each.reason) for each in events if isinstance(each, JobRefused)] == [(id_, "conflict")]
        assert not [each for each in events if isinstance(each, JobEnqueued) and each.id == id_]
        assert f"job {held.id} of kind other has its {what}" in caplog.text


async def test_a_conflict_that_could_not_raise_is_refused_at_the_call() -> None:
    with shop.testing() as t:
        handle = await parent.enqueue("raise")
        t.clock.advance(1)
        await t.drain()
        record = await handle.record()
        assert record.failures[-1].type == "ConfigurationError"
        assert "on_conflict='raise'" in record.failures[-1].message

    @shop.job(kind="direct")
    async def direct(ctx: Context) -> None:
        ctx.enqueue(HOW["raise"], 1)

    with shop.testing(), pytest.raises(ConfigurationError, match=r"ctx\.enqueue: on_conflict='raise'"):
        await direct()


async def test_what_is_no_job_and_no_exchange_is_refused_at_the_call() -> None:
    said: list[str] = []

    @shop.job(queue="notes")
    async def mistaken(ctx: Context) -> None:
        wrong: Any
        for wrong in ("notify", None, notify.handler, print):
            with pytest.raises(ConfigurationError, match=r"ctx\.enqueue: .* is no job: give a function") as caught:
                ctx.enqueue(wrong, 1)
            said.append(str(caught.value))
        for wrong in ("orders", None, notify):
            with pytest.raises(ConfigurationError, match=r"ctx\.publish: .* is no exchange: give what") as caught:
                await ctx.publish(wrong, "paid", {})
            said.append(str(caught.value))

    with shop.testing() as t:
        handle = await mistaken.enqueue()
        await t.drain()
        assert (await handle.record()).state == "succeeded"
    assert len(said) == 7
