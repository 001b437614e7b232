"""What the supervisor decides by itself: when it gives up, and how long it waits for a worker that stops."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from outlast.aio.tasks import cancel
from outlast.core.exitcodes import CONFIG, CRASHING, STORE
from outlast.core.message import Holder
from outlast.core.settlement import Lost
from outlast.supervisor.process import ProcessExit
from outlast.supervisor.supervisor import Supervisor
from outlast.testing.clock import FakeClock


class Process:
    """Stands in for a worker process: has these facts."""

    def __init__(self, **facts: Any) -> None:
        self.__dict__.update(facts)


def ended(code: int = 1, *, ready: bool = False) -> ProcessExit:
    return ProcessExit(Holder("h"), code, "", (), ready=ready, lived=1.0)


@pytest.mark.parametrize("size", [1, 2])
def test_it_gives_up_after_five_deaths_of_each_worker_before_it_was_ready(size: int) -> None:
    supervisor = Supervisor("main:app", processes=size)
    for _ in range(2):
        assert [supervisor.gives_up(ended()) for _ in range(5 * size - 1)] == [False] * (5 * size - 1)
        assert not supervisor.gives_up(ended(ready=True))
    assert [supervisor.gives_up(ended()) for _ in range(5 * size)] == [False] * (5 * size - 1) + [True]
    assert (supervisor.over(), supervisor._code) == (True, CRASHING)


@pytest.mark.parametrize("code", [CONFIG, STORE])
def test_a_first_worker_that_cannot_start_ends_it_at_once_and_a_later_one_does_not(code: int) -> None:
    supervisor = Supervisor("main:app")
    assert supervisor.gives_up(ended(code))
    assert (supervisor.over(), supervisor._code) == (True, code)
    supervisor = Supervisor("main:app")
    assert not supervisor.gives_up(ended(ready=True))
    assert not supervisor.gives_up(ended(code))
    assert not supervisor.over()


def test_a_worker_that_stops_has_its_own_grace_and_before_its_hello_only_the_margin() -> None:
    supervisor = Supervisor("main:app")
    unknown: Any = SimpleNamespace(settings=None)
    known: Any = SimpleNamespace(settings=SimpleNamespace(drain_grace=20.0))
    margin = supervisor._grace(unknown)
    assert supervisor._grace(known) == margin + 20
    supervisor._hello = known.settings
    assert supervisor._grace(unknown) == margin + 20


async def test_the_first_lease_is_renewed_at_the_first_hello_and_then_three_times_within_its_length(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A pause before would be longer than a short lease."""
    pauses: list[float] = []
    paused = asyncio.Event()
    extended: list[float] = []

    async def pause(seconds: float) -> None:
        pauses.append(seconds)
        paused.set()
        await asyncio.Event().wait()

    class Store:
        async def extend(self, holder: Holder, *, lease: float) -> list[Lost]:
            extended.append(lease)
            return []

    class Link:
        async def once(self, call: Callable[[Any], Awaitable[Any]], *, what: str) -> Any:
            return await call(SimpleNamespace(broker=Store()))

    supervisor = Supervisor("main:app")
    monkeypatch.setattr("outlast.supervisor.supervisor.asyncio.sleep", pause)
    renewing = asyncio.ensure_future(supervisor._renewals())
    for _ in range(5):
        await asyncio.wait((renewing,), timeout=0)  # it runs as far as it can
    process: Any = Process(holder=Holder("h"), send_losses=lambda lost: None)
    link: Any = Link()
    hello: Any = SimpleNamespace(lease=30.0)
    supervisor._hello = hello
    supervisor._links[process] = link
    supervisor._linked.set()
    async with asyncio.timeout(30):
        await paused.wait()
    await cancel(renewing)
    assert (extended, pauses) == ([30.0], [10.0])


@pytest.mark.parametrize("leases", [False, True])
async def test_no_store_is_opened_where_the_connection_of_a_worker_holds_its_jobs(
    monkeypatch: pytest.MonkeyPatch, leases: bool
) -> None:
    opened: list[str] = []

    async def open_link(connect: Callable[[], Any], *_: Any) -> Any:
        opened.append("store")
        return object()

    monkeypatch.setattr("outlast.supervisor.supervisor.open_link", open_link)
    supervisor = Supervisor("main:app")
    hello: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    hello.set_result(SimpleNamespace(url="memory:", about="app shop", leases=leases, app="shop", listen=""))
    process: Any = Process(hello=hello)
    await supervisor._greet(process)
    assert opened == (["store"] if leases else [])
    assert supervisor._linked.is_set() is leases


async def test_a_worker_that_stops_past_its_grace_is_killed_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Also outside a stop of the service: as the old worker of a reload."""
    clock = FakeClock()
    supervisor = Supervisor("main:app")
    supervisor._clock = clock
    kills: list[str] = []
    steps = [0.0, supervisor._grace(Process(settings=None)), 0.1, 60.0]  # type: ignore[arg-type]
    seen: list[list[str]] = []

    async def pause(seconds: float) -> None:
        seen.append(list(kills))
        process.killed = bool(kills)
        if not steps:
            raise EOFError
        clock.advance(steps.pop(0))

    process: Any = Process(
        settings=None,
        ready=False,
        killed=False,
        stopping_since=clock.monotonic(),
        child=SimpleNamespace(pid=7),
        check=lambda now, stall_after: None,
        kill=kills.append,
    )
    supervisor._processes = {process}
    monkeypatch.setattr("outlast.supervisor.supervisor.asyncio.sleep", pause)
    with pytest.raises(EOFError):
        await supervisor._checks()
    assert seen == [[], [], [], ["forced"], ["forced"]]
    assert caplog.messages == ["worker 7 has not ended within its grace period and is killed"]


def test_each_signal_does_more_than_the_one_before_and_a_fourth_nothing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    told: list[str] = []
    calls: dict[int, Callable[[], None]] = {}

    @contextmanager
    def on_signals(given: dict[int, Callable[[], None]]) -> Iterator[None]:
        calls.update(given)
        yield

    async def run(supervisor: Supervisor, stop: asyncio.Event) -> int:
        process: Any = Process(kill=told.append, stop=lambda *, end_grace: told.append(f"stop {end_grace}"))
        supervisor._processes = {process}
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGTERM, signal.SIGINT):
            calls[number]()
            told.append(f"stopped: {stop.is_set()}")
        return 0

    monkeypatch.setattr("outlast.supervisor.supervisor.on_signals", on_signals)
    monkeypatch.setattr(Supervisor, "run", run)
    with caplog.at_level(logging.INFO, "outlast.supervisor"):
        assert Supervisor("main:app").serve() == 0
    stopped = "stopped: True"
    assert told == [stopped, "stop True", stopped, "forced", stopped, stopped]
    assert caplog.messages == [
        "stopping: running jobs have a grace period, which a second signal ends",
        "stopping now: the grace period is over, and a third signal kills the workers",
        "the workers are killed at the third signal",
    ]
