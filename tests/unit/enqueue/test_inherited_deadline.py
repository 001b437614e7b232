"""A job with `inherit_deadline` expires at the deadline of its caller."""

from __future__ import annotations

from typing import Any

import pytest

from outlast import ConfigurationError, Outlast, deadline, remaining
from tests.support.fake_time import fake_time

shop = Outlast("shop")


@shop.job(inherit_deadline=True)
async def inherits() -> None: ...


@shop.job(inherit_deadline=True, expires=5)
async def inherits_at_most() -> None: ...


@shop.job
async def plain() -> None: ...


def lives(job: Any, **options: Any) -> float | None:
    """Return the seconds from its enqueue in which it may begin."""
    message = (job.with_options(**options) if options else job).message()
    return None if message.expires_at is None else message.expires_at - message.enqueued_at


def test_it_expires_when_the_caller_stops_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    time = fake_time(monkeypatch)
    with shop.testing():
        assert lives(inherits) is None
        assert lives(inherits_at_most) == 5
        with deadline(2):
            assert (lives(inherits), lives(inherits_at_most), lives(plain)) == (2, 2, None)
            assert (lives(inherits, delay=1), lives(inherits, expires=0.5), lives(inherits, expires=9)) == (2, 0.5, 2)
            assert lives(plain, expires=remaining()) == 2
            time.at += 3
            assert lives(inherits) == 0
        with deadline(9):
            assert lives(inherits_at_most) == 5


async def test_one_that_waits_past_it_is_not_run() -> None:
    with shop.testing() as t:
        with deadline(2):
            late = await inherits.enqueue()
        t.advance(3)
        await t.drain()
        assert (await late.record()).state == "expired"


@pytest.mark.parametrize("value", [1, "yes", None])
def test_it_is_true_or_false(value: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"inherit_deadline=.*: give True or False"):

        @shop.job(inherit_deadline=value)
        async def wrong() -> None: ...
