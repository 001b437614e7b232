"""Runs one hostile job with its neighbours under a supervisor, and judges what becomes of them."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from outlast import Outlast
from outlast.settings import Settings
from tests.faults.hostile.app import JOBS, NEIGHBOURS, app
from tests.support.ledger import Ledger
from tests.support.supervise import supervised
from tests.support.working import record

__all__ = ["see_what_becomes_of"]

UNTIL_POISON: Final = 3


async def see_what_becomes_of(way: str, url: str, folder: Path) -> None:
    """Judge the job that leaves in this way: its end, its neighbours, the runs of all."""
    ledger, log = Ledger(folder / "ledger"), folder / "log"
    end, leaves, beside = JOBS[way]
    shop = Outlast("hostile", settings=Settings(url=url))
    for declaration in app.registry.declarations.values():
        shop.registry.add(declaration)
    environ = {"OUTLAST_HOSTILE_URL": url, "OUTLAST_TEST_LEDGER": str(ledger.path)}
    async with shop:
        neighbours = await shop.send([beside.message(number) for number in range(NEIGHBOURS)])
        (culprit,) = await shop.send([leaves.message()])
        with supervised("tests.faults.hostile.app:app", environ, log, queues=[way]):
            found = await record(shop, culprit, within=60)
            others = [await record(shop, each, within=60) for each in neighbours]
    print(log.read_text())
    starts = ledger.names("start")
    assert [(each.state, each.attempt) for each in others] == [("succeeded", 1)] * NEIGHBOURS
    if end == "poison":
        assert (found.state, found.reason, found.attempt, starts[way]) == ("dead", "poison", 1, UNTIL_POISON)
    elif end == "succeeded":
        assert (found.state, found.attempt, found.crashes, starts[way]) == ("succeeded", 1, 0, 1)
    else:
        assert (found.state, found.reason, found.failures[-1].type) == ("dead", "attempts", end)
    crashes = UNTIL_POISON if end == "poison" else 0
    assert all(starts[f"beside-{number}"] <= 1 + crashes for number in range(NEIGHBOURS))
    if not crashes:
        assert "died" not in log.read_text()
