"""The renewal of a worker without a supervisor goes on after errors, on the loop and in its thread."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from typing import Any

import pytest

from outlast.core.errors import StoreUnavailable
from outlast.core.message import Fence, Holder
from outlast.core.settlement import Lost
from outlast.worker.renewal import ThreadRenewal, renew

HOLDER = Holder("h")
LOST = Lost(Fence("q.a", "q", 1), "superseded")
ERRORS = [StoreUnavailable("away"), OSError("not of the store"), RuntimeError("a fault of the broker")]


class Store:
    """A broker whose first calls fail."""

    def __init__(self, *errors: Exception, opens: int = 0) -> None:
        self.errors, self.opens = list(errors), opens
        self.extended = 0
        self.closed = threading.Event()

    async def open(self) -> None:
        if self.opens:
            self.opens -= 1
            raise StoreUnavailable("not yet")

    async def close(self) -> None:
        self.closed.set()

    async def extend(self, holder: Holder, *, lease: float) -> list[Lost]:
        if self.errors:
            raise self.errors.pop(0)
        self.extended += 1
        return [LOST]


@pytest.mark.parametrize("errors", [[error] for error in ERRORS] + [ERRORS], ids=repr)
async def test_on_the_loop_it_goes_on_after_an_error(errors: list[Exception]) -> None:
    store, told = Store(*errors), asyncio.Event()

    def lost(losses: Sequence[Lost]) -> None:
        assert losses == [LOST]
        if store.extended == 3:
            told.set()

    broker: Any = store
    renewing = asyncio.ensure_future(renew(lambda: broker, HOLDER, lease=0.003, lost=lost))
    async with asyncio.timeout(30):
        await told.wait()
    renewing.cancel()


@pytest.mark.parametrize("errors", [[error] for error in ERRORS] + [ERRORS], ids=repr)
async def test_in_its_thread_it_goes_on_after_errors_and_tells_the_loop_of_the_worker(errors: list[Exception]) -> None:
    store, told, owner = Store(*errors, opens=2), asyncio.Event(), threading.get_ident()

    def lost(losses: Sequence[Lost]) -> None:
        assert (losses, threading.get_ident()) == ([LOST], owner)
        if store.extended >= 3:
            told.set()

    broker: Any = store
    renewal = ThreadRenewal(lambda: broker, HOLDER, lease=0.003, lost=lost)
    renewal.start()
    async with asyncio.timeout(30):
        await told.wait()
        await renewal.stop()
    assert store.closed.is_set()


@pytest.mark.parametrize(("holder", "name"), [(Holder("h", "host:7"), "host:7"), (HOLDER, "h")])
async def test_an_outage_is_told_once_with_the_name_of_the_holder(
    holder: Holder, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    told = asyncio.Event()
    broker: Any = Store(ERRORS[0], ERRORS[0])
    renewing = asyncio.ensure_future(renew(lambda: broker, holder, lease=0.003, lost=lambda losses: told.set()))
    async with asyncio.timeout(30):
        await told.wait()
    renewing.cancel()
    assert caplog.messages == [f"the lease of {name} could not be renewed: away"]


async def test_the_lease_is_renewed_three_times_within_its_length(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []

    async def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 3:
            raise EOFError

    monkeypatch.setattr("outlast.worker.renewal.asyncio.sleep", pause)
    broker: Any = Store(ERRORS[0])
    with pytest.raises(EOFError):
        await renew(lambda: broker, HOLDER, lease=30.0, lost=lambda losses: None)
    assert (pauses, broker.extended) == ([10.0] * 3, 2)
