"""A supervisor that runs in this process: what it does when a part of itself fails."""

from __future__ import annotations

import asyncio

import pytest

from outlast.supervisor.supervisor import Supervisor


@pytest.mark.parametrize("part", ["_renewals", "_checks", "_replace_workers", "_watch_consumers"])
async def test_a_supervisor_that_lost_a_part_of_itself_stops_and_says_so(
    part: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else its workers would run on without renewals, deadlines or replacements."""

    async def fails(_: Supervisor) -> None:
        raise RuntimeError(part)

    monkeypatch.setattr(Supervisor, part, fails)
    supervisor = Supervisor("tests.support.apps.isolated_app:app")
    with pytest.raises(RuntimeError, match=part):
        await supervisor.run(asyncio.Event())
    assert supervisor.pids == []
