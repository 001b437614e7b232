"""Of two requests that write one session at once, none loses what the other was told is saved: see `session_writes`."""

from __future__ import annotations

from typing import Any

import pytest

from outlast.toolkit.access import Toolkit
from outlast.toolkit.sessions import fields as session_fields
from outlast.toolkit.sessions.store import FieldWrite
from tests.faults.toolkit.session_writes import interleave_writes
from tests.support.toolkit_sessions import sessions_on


async def test_no_write_of_two_requests_is_lost(kit: Toolkit, other_kit: Toolkit) -> None:
    verdict = await interleave_writes([sessions_on(kit), sessions_on(other_kit)], 500, seed=1)
    assert (verdict.lost, verdict.twice) == ([], [])
    assert verdict.writes >= 500
    assert verdict.conflicts > 0
    assert verdict.ended > 0
    assert verdict.rotations > 0


async def test_nor_in_one_process(kit: Toolkit) -> None:
    verdict = await interleave_writes([sessions_on(kit), sessions_on(kit)], 500, seed=2)
    assert (verdict.lost, verdict.twice) == ([], [])


async def test_the_judge_sees_writes_that_compare_nothing(kit: Toolkit, monkeypatch: pytest.MonkeyPatch) -> None:
    def unchecked(name: str, value: bytes | None, checked: bool, expected: bytes | None) -> Any:
        return FieldWrite(name, value)

    monkeypatch.setattr(session_fields, "FieldWrite", unchecked)
    verdict = await interleave_writes([sessions_on(kit), sessions_on(kit)], 500, seed=3)
    assert verdict.lost
