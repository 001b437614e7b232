"""A time that guards and loops of these tests follow."""

from __future__ import annotations

import pytest

from tests.support.fake_time import FakeTime, fake_time


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> FakeTime:
    return fake_time(monkeypatch)
