"""A claim whose answer was lost is undone until the server confirms it."""

from __future__ import annotations

import pytest

from outlast.brokers.redis.claim import repeat_until_done
from outlast.core.errors import StoreError, StoreUnavailable


@pytest.mark.parametrize(("error", "told"), [(StoreError("refused"), True), (StoreUnavailable("away"), False)])
async def test_it_tells_what_the_server_refuses_and_ends_with_the_store(
    caplog: pytest.LogCaptureFixture, error: StoreError, told: bool
) -> None:
    async def undo() -> None:
        raise error

    assert not await repeat_until_done(undo, lambda: False, "a lost claim of w")
    assert ("a lost claim of w is not undone yet" in caplog.text) is told
