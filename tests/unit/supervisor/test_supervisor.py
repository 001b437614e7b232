"""What the supervisor decides by itself: when it gives up, and how long it waits for a worker that stops."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from outlast.core.exitcodes import CONFIG, CRASHING, STORE
from outlast.core.message import Holder
from outlast.supervisor.process import ProcessExit
from outlast.supervisor.supervisor import Supervisor


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
