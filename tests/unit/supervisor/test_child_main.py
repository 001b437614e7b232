"""What a worker process sets for its interpreter."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator

import pytest

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
