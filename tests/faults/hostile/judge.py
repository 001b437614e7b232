"""Runs hostile jobs with their neighbours under one supervisor, and judges what becomes of them all."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from outlast import Outlast
from outlast.core.store.records import JobRecord
from outlast.settings import Settings
from tests.faults.hostile.app import app
from tests.faults.hostile.declare import LEASE, NEIGHBOURS, WAYS
from tests.support.ledger import Ledger
from tests.support.polling import until
from tests.support.stage import declaring_alike
from tests.support.supervise import supervised

__all__ = ["BATCHES", "Verdict", "batches", "judge"]

PATIENCE: Final = 60.0
"""Seconds within which each job must end."""


@dataclass(frozen=True)
class Verdict:
    """What became of one hostile job, and what was wrong with that. died: how often a worker died meanwhile."""

    way: str
    end: str
    runs: int
    faults: tuple[str, ...]


def batches(names: Sequence[str], together: int, alone: int) -> list[tuple[str, ...]]:
    """Return the ways in batches, one for each supervisor.

    Those that end or block their worker run one after the other, the others all at a time; those that change what all
    code in the process sees run apart from those that need it as it was.
    """
    wild = [name for name in names if WAYS[name].alone]
    spoil = [name for name in names if WAYS[name].spoils and name not in wild]
    mild = [name for name in names if name not in wild and name not in spoil]
    parts = ((mild, together), (spoil, together), (wild, alone))
    return [tuple(each[at : at + size]) for each, size in parts for at in range(0, len(each), size)]


_ALONE: Final = [name for name, way in WAYS.items() if way.alone]
BATCHES: Final = batches([name for name in WAYS if name not in _ALONE or name in _ALONE[::3]], 10, 5)
"""What the suite runs: a third of those that need a supervisor for seconds; the proof runs all."""


async def judge(names: Sequence[str], url: str, folder: Path) -> list[Verdict]:
    """Run these ways under one supervisor, which must also stop when it is told to; return a verdict on each."""
    ledger, log = Ledger(folder / "ledger"), folder / "log"
    shop = declaring_alike(app, Settings(url=url, enqueue_timeout=60))
    environ = {"OUTLAST_HOSTILE_URL": url, "OUTLAST_TEST_LEDGER": str(ledger.path)}
    environ |= {"OUTLAST_HOSTILE_LEASE": str(LEASE), "OUTLAST_HOSTILE_DRAIN_GRACE": "2"}
    # Jobs that run beside one that blocks the loop must not pass their hard deadlines for it.
    wild = any(WAYS[name].alone for name in names)
    environ |= {"OUTLAST_HOSTILE_KILL_GRACE": "0.5" if wild else "20", "OUTLAST_HOSTILE_PROCESSES": "4"}
    verdicts: list[Verdict] = []
    async with shop:
        with supervised("tests.faults.hostile.app:app", environ, log, queues=list(names)) as running:
            if wild:
                verdicts = [await _judge_one(name, shop, ledger, log) for name in names]
            else:
                verdicts = await asyncio.gather(*(_judge_one(name, shop, ledger, log) for name in names))
            running.process.terminate()
            await until(lambda: running.process.poll() is not None, "the supervisor stops", within=PATIENCE)
            code = running.process.returncode
    if code:
        verdicts.append(Verdict("(the stop)", f"exit code {code}", 0, ("the supervisor did not stop in peace",)))
    return verdicts


async def _judge_one(name: str, shop: Outlast, ledger: Ledger, log: Path) -> Verdict:
    way = WAYS[name]
    store = (await shop.runtime()).store
    died = _deaths(log)
    neighbours = await shop.send([way.beside.message(number) for number in range(NEIGHBOURS)])
    (culprit,) = await shop.send([way.culprit.message()])

    async def ended(ids: Sequence[str]) -> list[JobRecord]:
        found = [each for each in await store.records.wait(ids, PATIENCE) if each is not None]
        assert len(found) == len(ids), "a record is gone"
        return found

    others = await ended([each.id for each in neighbours])
    if way.end == "cancelled":
        await culprit.cancel()
    (found,) = await ended([culprit.id])
    starts = ledger.names("start")
    end = found.reason or found.state
    error = found.failures[-1].type if found.failures else ""
    faults = []
    if end != way.end or (way.error and error != way.error):
        faults.append(f"it must end as {way.end} {way.error}")
    if way.runs and starts[name] != way.runs:
        faults.append(f"it must start {way.runs} times")
    for number, each in enumerate(others):
        if (each.state, each.attempt) != ("succeeded", 1):
            faults.append(f"a neighbour: {each.state} ({each.reason}), attempt {each.attempt}, {each.failures[-1:]}")
        if starts[f"beside-{name}-{number}"] > 1 + way.deaths:
            faults.append(f"a neighbour started {starts[f'beside-{name}-{number}']} times")
    deaths = _deaths(log) - died
    if deaths > way.deaths:
        faults.append(f"{deaths} workers died")
    return Verdict(name, f"{end} {error}".strip(), starts[name], tuple(faults))


def _deaths(log: Path) -> int:
    return log.read_text(errors="replace").count("died (") if log.exists() else 0
