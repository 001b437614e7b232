"""The worker's pure parts: how far ahead to claim, and how an exception is told."""

from __future__ import annotations

import sys
from types import ModuleType

import msgspec
import pytest

from outlast import Outlast
from outlast.core import exitcodes
from outlast.worker.app_source import find_source
from outlast.worker.failures import MESSAGE_LIMIT, TRACEBACK_LIMIT, failure_of
from outlast.worker.slot_groups import AHEAD, Average, SlotGroup, claim_ahead


def test_short_jobs_are_claimed_ahead_and_long_ones_never() -> None:
    assert claim_ahead(100, run=0.0001, trip=0.002) == AHEAD * 100
    assert claim_ahead(100, run=0.0625, trip=0.03125) == 150
    assert claim_ahead(100, run=10.0, trip=0.002) == 0
    assert claim_ahead(100, run=0.0, trip=0.002) == 0
    assert claim_ahead(100, run=0.1, trip=0.0) == 0


def test_a_slot_group_has_no_room_for_what_is_held_or_stuck() -> None:
    group: SlotGroup[int] = SlotGroup(10)
    assert group.room(0.001) == 10
    group.held, group.stuck = 6, 3
    assert group.room(0.001) == 1
    group.held = 20
    assert group.room(0.001) == 0
    group.run_time.add(0.0001)
    assert group.room(0.001) == 10 + AHEAD * 10 - 23


def test_an_average_starts_at_its_first_value_and_forgets() -> None:
    average = Average(0.5)
    average.add(8.0)
    assert average.value == 8.0
    average.add(4.0)
    assert average.value == 6.0


def test_a_failure_is_cut_and_secrets_go_before_the_cut() -> None:
    secret = "s3cret" * 10
    try:
        raise ValueError("x" * (MESSAGE_LIMIT // 4 - 20) + secret + "y" * 100_000)
    except ValueError as error:
        failure = failure_of(error, attempt=2, at=9.0, secrets=(secret,)).failure
    assert (failure.attempt, failure.at, failure.type) == (2, 9.0, "ValueError")
    assert len(failure.message) <= MESSAGE_LIMIT
    assert len(failure.traceback) <= TRACEBACK_LIMIT
    assert "s3c" not in failure.message + failure.traceback
    assert "(cut)" in failure.message


def test_an_exception_that_cannot_be_told_is_told_so() -> None:
    class Silent(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    failure = failure_of(Silent(), attempt=1, at=0.0).failure
    assert failure.type == "Silent"
    assert "RuntimeError" in failure.message


def test_every_exit_code_has_a_meaning() -> None:
    codes = [value for name, value in vars(exitcodes).items() if name.isupper() and isinstance(value, int)]
    assert sorted(exitcodes.MEANING) == sorted(codes)
    assert all(exitcodes.MEANING.values())


def test_a_failure_with_a_name_that_is_no_text_can_be_kept() -> None:
    failure = failure_of(OSError(2, "not found", "caf\udce9.pdf"), attempt=1, at=0.0).failure
    assert "caf\\udce9.pdf" in failure.message
    assert "caf\\udce9.pdf" in failure.traceback
    assert msgspec.json.encode(failure).decode()


def test_an_app_that_a_script_imports_is_found_in_its_module(monkeypatch: pytest.MonkeyPatch) -> None:
    app = Outlast("shop")
    module = ModuleType("shop_of_its_own")
    module.shop = app  # type: ignore[attr-defined]
    monkeypatch.setattr(sys.modules["__main__"], "shop", app, raising=False)
    monkeypatch.setitem(sys.modules, "__mp_main__", sys.modules["__main__"])
    monkeypatch.setitem(sys.modules, "shop_of_its_own", module)
    found = find_source(app.registry)
    assert found is not None
    assert (found.target, found.script) == ("shop_of_its_own:shop", "")
