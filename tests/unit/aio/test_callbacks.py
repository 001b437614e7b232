"""An error in a callback is reported, and ends nothing."""

from __future__ import annotations

import asyncio
from typing import Any

from outlast.aio.callbacks import tell


async def test_an_error_is_reported_and_returned() -> None:
    heard: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: heard.append(context["exception"]))
    failure = ValueError("no")

    def refuse(value: int) -> None:
        raise failure

    assert tell(refuse, 1) is failure
    assert heard == [failure]


async def test_what_goes_well_and_what_is_not_there_tells_nothing() -> None:
    told: list[int] = []
    assert tell(told.append, 1) is None
    assert tell(None, 1) is None
    assert told == [1]
