"""One run: the time that it has left, and the results and errors that it keeps."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, NoReturn, cast

import pytest

from outlast import Outlast
from outlast.core.decide import Succeeded
from outlast.core.message import Delivery, Fence
from outlast.testing.clock import FakeClock
from outlast.worker.run import Run, conclude, fail


def new_run(clock: FakeClock) -> Run:
    shop = Outlast("shop")

    @shop.job
    async def send() -> None: ...

    sent = shop.composer.message(shop.registry.declarations["send"])
    host: Any = SimpleNamespace(clock=clock, max_body=1000)
    return Run(Delivery(sent, Fence(sent.id, sent.queue, 1)), None, cast(Any, None), host, clock.monotonic())


def test_a_run_has_left_what_its_timeout_leaves_and_never_less_than_nothing() -> None:
    clock = FakeClock()
    assert new_run(clock).remaining is None
    run = new_run(clock)
    run.deadline = clock.monotonic() + 5
    assert run.remaining == 5
    clock.advance(4.5)
    assert run.remaining == 0.5
    clock.advance(1)
    assert run.remaining == 0


def test_the_usage_of_a_run_counts_from_its_start() -> None:
    clock = FakeClock()
    run = new_run(clock)
    clock.advance(3)
    run.started = clock.monotonic()
    clock.advance(2)
    run.used(1.5)
    assert run.usage is not None
    assert (run.usage.cpu, run.usage.wall) == (1.5, 2)


def test_a_run_starts_its_timeout_and_its_usage_when_it_begins() -> None:
    clock = FakeClock()
    for timeout, deadline in ((None, 0.0), (5.0, clock.monotonic() + 8)):
        run = new_run(clock)
        begun: list[Run] = []
        run.plan = cast(Any, SimpleNamespace(timeout=timeout))
        run.host = cast(Any, SimpleNamespace(clock=clock, begun=begun.append))
        run.begin(clock.monotonic() + 3)
        assert (run.begun, run.started, run.deadline) == (True, clock.monotonic() + 3, deadline)
        assert begun == [run]


def test_an_error_with_a_text_that_no_log_can_write_is_not_kept_for_the_log() -> None:
    run = new_run(FakeClock())
    fail(run, ValueError("caf\udce9"))
    assert run.error is None
    told = ValueError("told")
    fail(run, told)
    assert run.error is told


def test_a_fork_that_returns_into_the_worker_ends_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its process is a copy of the worker, and would settle the jobs of the worker."""
    left: list[BaseException | None] = []
    shop = Outlast("shop")

    @shop.job
    async def forks() -> None: ...

    def leave(error: BaseException | None) -> NoReturn:
        left.append(error)
        raise EOFError

    declaration = shop.registry.declarations["forks"]
    run = new_run(FakeClock())
    run.plan = cast(Any, SimpleNamespace(declaration=declaration))
    assert conclude(run, None) == Succeeded()
    monkeypatch.setattr("outlast.worker.run.forked", lambda: True)
    monkeypatch.setattr("outlast.worker.run.leave_fork", leave)
    error = ValueError()
    with pytest.raises(EOFError):
        conclude(run, None)
    with pytest.raises(EOFError):
        fail(run, error)
    assert left == [None, error]
