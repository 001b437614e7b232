"""What an operator must correct makes the pieces take their sides, and is logged with the fix now and then."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from outlast.core.errors import StoreCorrupt, StoreError, StoreFull, StoreRefused, StoreUnavailable
from outlast.core.toolkit_errors import ToolkitAway
from outlast.testing.clock import FakeClock
from outlast.toolkit.access import TELL_EVERY, Toolkit
from outlast.toolkit.memory import ToolkitMemory
from outlast.toolkit.store import ToolkitStore


class Elsewhere(ToolkitMemory):
    """A store that may be away. fault: what its opening raises."""

    in_process = False
    fault: StoreError | None = None

    async def open(self) -> None:
        if self.fault is not None:
            raise self.fault


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def store(clock: FakeClock) -> Elsewhere:
    return Elsewhere(clock)


@pytest.fixture
def kit(clock: FakeClock, store: Elsewhere) -> Toolkit:
    return Toolkit("", clock=clock, timeout=30, connect=lambda url, clock: store)


def raising(error: StoreError) -> Callable[[ToolkitStore], Awaitable[None]]:
    async def call(store: ToolkitStore) -> None:
        raise error

    return call


@pytest.mark.parametrize(
    ("error", "of_all"),
    [
        (StoreRefused("correct the password"), True),
        (StoreFull("free some space"), True),
        (StoreUnavailable("start it"), True),
        (StoreError("give it the ACL"), False),
        (StoreCorrupt("restore the newest backup"), False),
    ],
)
async def test_each_error_of_a_call_is_told_as_away(
    kit: Toolkit, caplog: pytest.LogCaptureFixture, error: StoreError, of_all: bool
) -> None:
    """A command that is not permitted says nothing about the calls of other pieces."""
    for _ in range(2):
        with pytest.raises(ToolkitAway, match=str(error)) as caught:
            await kit.use(raising(error))
        assert caught.value.retry_after is not None
    assert kit.is_away is of_all
    told = [each for each in caplog.records if each.name == "outlast.toolkit"]
    assert len(told) == (0 if isinstance(error, StoreUnavailable) else 1), "an outage is told by the guard"
    assert all(str(error) in each.getMessage() and each.levelname == "ERROR" for each in told)


async def test_it_is_told_again_after_a_while(kit: Toolkit, clock: FakeClock, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(3):
        for error in (StoreError("permit it"), StoreCorrupt("restore it")):
            with pytest.raises(ToolkitAway):
                await kit.use(raising(error))
    assert [caplog.text.count(word) for word in ("permit it", "restore it")] == [1, 1]
    clock.advance(TELL_EVERY)
    with pytest.raises(ToolkitAway):
        await kit.use(raising(StoreError("permit it")))
    assert caplog.text.count("permit it") == 2


async def test_a_file_that_cannot_be_opened_makes_the_store_be_away(kit: Toolkit, store: Elsewhere) -> None:
    store.fault = StoreCorrupt("it is of another program")
    with pytest.raises(ToolkitAway, match="of another program") as caught:
        await kit.check()
    assert not caught.value.uncertain
    assert kit.is_away
    with pytest.raises(ToolkitAway, match=r"made no call .* after: it is of another program"):
        await kit.check()
    store.fault = None
    kit._guard.renew()
    await kit.check()


async def test_a_call_that_was_refused_in_its_middle_may_have_been_done(kit: Toolkit) -> None:
    await kit.check()
    with pytest.raises(ToolkitAway) as caught:
        await kit.use(raising(StoreError("one command of the script is not permitted")))
    assert caught.value.uncertain
