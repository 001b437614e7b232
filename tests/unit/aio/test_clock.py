"""The system's clocks, in a process whose code replaces them."""

from __future__ import annotations

import time

import pytest

from outlast.aio.clock import SystemClock


def test_a_replaced_clock_of_the_time_module_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, before = SystemClock(), (time.time(), time.monotonic())
    for name in ("time", "monotonic", "clock_gettime"):
        monkeypatch.setattr(time, name, lambda *_: 0.0)
    assert clock.time() >= before[0]
    assert clock.monotonic() > 0
