"""What must hold of a history in which another program has written."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

import pytest

from outlast.core.history import STEPS, Cost, QueueSample, entry
from tests.support.jobs import Desk

__all__ = ["stands_damage"]


async def stands_damage(desk: Desk, vandalize: Callable[[], Awaitable[None]], caplog: pytest.LogCaptureFixture) -> None:
    """Check that rows which `vandalize` has made unreadable are left out, told once, and stop nothing.

    It damages one sample of queue `mail` (of the fine step), the first mark, and the costs of tenant `bad`.
    """
    await desk.declare("mail")
    await desk.store.keep_samples({"mail": QueueSample(depth=1)})
    desk.clock.advance(STEPS[0].seconds)
    await desk.store.keep_samples({"mail": QueueSample(depth=2)})
    await desk.store.add_entries([entry("mark", "first"), entry("mark", "second")])
    await desk.store.add_costs("w", 1, [Cost(kind="send", tenant=tenant, runs=3) for tenant in ("bad", "good")])
    await vandalize()
    with caplog.at_level(logging.ERROR):
        for _ in range(2):
            assert [each.depth for each in (await desk.store.samples(STEPS[0]))["mail"]] == [2]
            assert [each.what for each in await desk.store.journal("mark", 9)] == ["second"]
            assert [each.tenant for each in await desk.store.costs(1)] == ["good"]
    assert len([each for each in caplog.records if "cannot be read" in each.getMessage()]) == 3
    desk.clock.advance(STEPS[0].seconds)
    assert await desk.store.keep_samples({"mail": QueueSample(depth=3)}) >= 1
    await desk.store.add_entries([entry("mark", "third")])
    assert await desk.store.add_costs("w", 2, [Cost(kind="send", tenant="good", runs=1)])
    assert [each.runs for each in await desk.store.costs(1) if each.tenant == "good"] == [4]
