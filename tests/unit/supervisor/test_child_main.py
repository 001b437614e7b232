"""What a worker process sets for its interpreter."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Iterator

import pytest

from outlast.supervisor import child_main
from outlast.supervisor.child_main import collect_less


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
