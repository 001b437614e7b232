"""`max_wait`: of an enqueue, else of the job, else of the queue; a refusal of the store becomes QueueFull."""

from __future__ import annotations

import pytest

from outlast import Outlast, QueueFull
from outlast.core.errors import ConfigurationError
from outlast.core.forecast import Offer
from outlast.core.message import Holder

shop = Outlast("shop")
shop.queue("quotes", max_wait="5s")


@shop.job(queue="quotes")
async def quote(item: int) -> None: ...


@shop.job(queue="quotes", max_wait=2)
async def urgent(item: int) -> None: ...


@shop.job
async def plain(item: int) -> None: ...


def test_the_nearest_setting_wins() -> None:
    with shop.testing():
        assert quote.message(1).max_wait == 5.0
        assert quote.with_options(max_wait="1m").message(1).max_wait == 60.0
        assert urgent.message(1).max_wait == 2.0
        assert plain.message(1).max_wait is None
        assert plain.with_options(max_wait=0.5).message(1).max_wait == 0.5


@pytest.mark.parametrize("wait", [0, -1, "soon"])
def test_impossible_times_are_refused(wait: float | str) -> None:
    with pytest.raises(ConfigurationError, match="max_wait="):
        shop.queue("other", max_wait=wait)
    with pytest.raises(ConfigurationError, match="max_wait="):
        quote.with_options(max_wait=wait)


async def test_each_refused_client_is_told_a_later_place() -> None:
    async with shop.testing():
        runtime = await shop.runtime()
        worker = Holder("w" * 32, loads={"quotes": Offer(1, 1.0)})
        for item in range(6):
            await quote.enqueue(item)
        await runtime.store.broker.claim({"quotes": 1}, limit=1, holder=worker, lease=60, wait=0)
        told = []
        for item in range(3):
            with pytest.raises(QueueFull, match="would not begin in time") as caught:
                await quote.enqueue(item)
            assert caught.value.bound == "max_wait"
            told.append(caught.value.retry_after)
        assert told == [pytest.approx(place) for place in (1.0, 2.0, 3.0)]
        assert (await quote.with_options(max_wait="1m").enqueue(9)).id
