"""The keeper of idempotency keys: what it renews, what it tells, and that it renews while an event loop is blocked."""

from __future__ import annotations

import os
import threading
from collections.abc import Awaitable, Callable
from typing import TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outlast import deadline, remaining
from outlast.core.errors import StoreFull
from outlast.core.toolkit_errors import ToolkitAway
from outlast.testing.clock import FakeClock
from outlast.toolkit.access import Toolkit
from outlast.toolkit.idempotency import keeper as keeper_module
from outlast.toolkit.idempotency.keeper import LATEST, LEASE
from outlast.toolkit.idempotency.keys import Held, IdempotencyKeys, InFlight, StoredAnswer, digest_of
from outlast.toolkit.store import ToolkitStore

T = TypeVar("T")
SCOPE, ANSWER = [b"key"], StoredAnswer(200, (), b"a")


class AwayToolkit(Toolkit):
    """A toolkit in memory whose store is away while `away` is set."""

    away = False
    refused = False
    """Whether the store takes no ends of requests."""
    calls = 0

    async def _use(self, call: Callable[[ToolkitStore], Awaitable[T]]) -> T:
        self.calls += 1
        if self.refused and getattr(call, "__name__", "") == "step":
            raise StoreFull("the test says so")
        if self.away:
            raise ToolkitAway("memory:", "the test says so")
        return await super()._use(call)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def kit(clock: FakeClock) -> AwayToolkit:
    return AwayToolkit("memory:", clock=clock, timeout=1)


@pytest.fixture
def keys(kit: Toolkit) -> IdempotencyKeys:
    return IdempotencyKeys(kit, ttl=3600)


async def begun(keys: IdempotencyKeys) -> Held:
    held = await keys.begin(SCOPE, b"p")
    assert isinstance(held, Held)
    return held


async def test_a_lost_lease_is_told_once(
    keys: IdempotencyKeys, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    await begun(keys)
    clock.advance(LEASE)
    await begun(keys)
    for _ in range(2):
        assert not await keys.keeper.step()
    assert len([each for each in caplog.records if "the lease of an idempotency key ended" in each.message]) == 1


async def test_a_renewal_that_fails_is_tried_again(keys: IdempotencyKeys, kit: AwayToolkit, clock: FakeClock) -> None:
    await begun(keys)
    clock.advance(LEASE - 1)
    kit.away = True
    assert await keys.keeper.step()
    kit.away = False
    assert not await keys.keeper.step()
    clock.advance(LEASE - 1)
    assert isinstance(await keys.begin(SCOPE, b"p"), InFlight)


async def test_an_answer_that_the_store_refuses_holds_up_no_other(
    keys: IdempotencyKeys, kit: AwayToolkit, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    kit.refused = True
    assert not await (await begun(keys)).finish(ANSWER)
    other = await keys.begin([b"other"], b"p")
    assert isinstance(other, Held)
    clock.advance(LEASE - 1)
    assert await keys.keeper.step()
    clock.advance(LEASE - 1)
    assert isinstance(await keys.begin([b"other"], b"p"), InFlight), "it was renewed"
    kit.refused = False
    assert not await keys.keeper.step()
    assert await keys.begin(SCOPE, b"p") == ANSWER


async def test_an_answer_is_given_up_after_its_time_and_told(
    keys: IdempotencyKeys, kit: AwayToolkit, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    held = await begun(keys)
    kit.away = True
    assert not await held.finish(ANSWER)
    assert await keys.keeper.step()
    clock.advance(LATEST)
    assert not await keys.keeper.step()
    assert "an answer was given up" in caplog.text
    kit.away = False
    await begun(keys)


async def test_keys_are_renewed_while_the_event_loop_is_blocked(
    keys: IdempotencyKeys, kit: AwayToolkit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeper_module, "RENEW", 0.01)
    renewed = threading.Event()
    step = keys.keeper.step

    async def told() -> bool:
        failed = await step()
        renewed.set()
        return failed

    monkeypatch.setattr(keys.keeper, "step", told)
    held = await begun(keys)
    assert renewed.wait(30), "this blocks the loop of the test"
    await held.finish(ANSWER)


async def test_the_deadline_of_a_request_ends_no_later_renewal(
    keys: IdempotencyKeys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeper_module, "RENEW", 0.01)
    left: list[float | None] = []
    renewed = threading.Event()

    async def told() -> bool:
        left.append(remaining())
        renewed.set()
        return False

    monkeypatch.setattr(keys.keeper, "step", told)
    with deadline(20):
        held = await begun(keys)
    assert renewed.wait(30)
    await held.finish(ANSWER)
    assert left[0] is None


async def test_a_fork_does_not_look_after_the_keys_of_its_parent(keys: IdempotencyKeys, clock: FakeClock) -> None:
    await begun(keys)
    parents = keys.keeper._running
    assert parents is not None
    keys.keeper._process = os.getppid()  # as it is found in a child
    clock.advance(LEASE)
    child = await begun(keys)
    assert [*keys.keeper._held] == [child._held.token]
    await child.finish(ANSWER)
    parents.cancel()


async def test_nothing_is_asked_of_the_store_for_a_short_request(keys: IdempotencyKeys, kit: AwayToolkit) -> None:
    held = await begun(keys)
    await held.finish(ANSWER)
    assert kit.calls == 2


@given(st.lists(st.binary(max_size=5), max_size=4), st.lists(st.binary(max_size=5), max_size=4))
def test_no_two_lists_of_parts_have_one_digest(one: list[bytes], two: list[bytes]) -> None:
    assert (digest_of(*one) == digest_of(*two)) is (one == two)
