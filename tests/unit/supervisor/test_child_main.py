"""What a worker process sets for its interpreter."""

from __future__ import annotations

import asyncio
import gc
import os
import socket
import weakref
from collections.abc import Iterator
from typing import Any

import pytest

from outlast.core.errors import ConfigurationError
from outlast.core.exitcodes import CONFIG
from outlast.supervisor import child_main
from outlast.supervisor.child_main import collect_less
from outlast.supervisor.messages import WorkerConfig


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    """Restore the collector."""
    before = gc.get_threshold()
    yield
    gc.set_threshold(*before)
    gc.unfreeze()


def test_the_collector_looks_less_often() -> None:
    gc.set_threshold(700, 10, 10)
    collect_less()
    assert gc.get_threshold() == (10_000, 10, 10)
    assert gc.get_freeze_count() > 0


@pytest.mark.parametrize("tuned", [(0, 10, 10), (50_000, 5, 5), (100, 10, 10)])
def test_a_collector_that_the_app_has_tuned_is_left_alone(tuned: tuple[int, int, int]) -> None:
    gc.set_threshold(*tuned)
    collect_less()
    assert gc.get_threshold() == tuned
    assert gc.get_freeze_count() == 0


def test_garbage_of_the_import_is_freed_and_not_kept_for_ever() -> None:
    """What is frozen is never looked at again."""

    class Cycle:
        def __init__(self) -> None:
            self.itself = self

    gc.set_threshold(700, 10, 10)
    gc.collect()
    left = weakref.ref(Cycle())
    collect_less()
    assert left() is None


async def test_a_worker_that_cannot_hear_its_supervisor_any_more_ends_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """However the task that reads its messages was ended: by the code of a job, or by an error."""
    told: list[str] = []
    monkeypatch.setattr(child_main, "_die", told.append)

    async def read(error: BaseException | None) -> None:
        if error is not None:
            raise error

    for error in (None, ValueError(), asyncio.CancelledError()):
        task = asyncio.get_running_loop().create_task(read(error), name="outlast messages")
        await asyncio.wait((task,))
        child_main._check_messages(task)
    assert told == ["the task 'outlast messages' was ended"] * 2


@pytest.mark.parametrize("hangs", [False, True], ids=["closes", "hangs"])
async def test_a_worker_is_ended_early_only_if_its_store_does_not_close(
    hangs: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else tasks of the app that clean up at its end would be cut short."""

    class App:
        async def runtime(self) -> None:
            raise ConfigurationError("wrong")

        async def close(self) -> None:
            if hangs:
                await asyncio.Event().wait()

    ends: list[tuple[float, int]] = []
    monkeypatch.setattr(child_main, "exit_within", lambda seconds, code: ends.append((seconds, code)))
    monkeypatch.setattr(child_main, "_CLOSE", 0.01)
    ours, theirs = socket.socketpair()
    config = WorkerConfig(target="main:app", holder="h", map_fd=-1, control_fd=theirs.detach(), supervisor=os.getppid())
    app: Any = App()
    with ours:
        assert await child_main._SupervisedWorker(config, app).run() == CONFIG
    assert ends == ([(0.005, CONFIG)] if hangs else [])
