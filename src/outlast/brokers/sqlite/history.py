"""Keeps samples, journal and costs in the file, in tables of their own: no statement of a job reads them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeVar

import apsw
from msgspec import structs

from outlast.brokers.sqlite.transaction import Transaction, json_of
from outlast.brokers.sqlite.unreadable import fetch_named
from outlast.core.clock import Clock
from outlast.core.history import (
    COST_DAYS,
    ENTRY,
    MOST_COSTS,
    MOST_ENTRIES,
    OTHER,
    SAMPLE,
    STEPS,
    Cost,
    Entry,
    QueueSample,
    Sort,
    Step,
    day_of,
    slot_of,
)
from outlast.core.unreadable import READ_ERRORS, ToldOnce

__all__ = ["SqliteHistory", "forget_tenant"]

logger = logging.getLogger("outlast.sqlite")
T = TypeVar("T")
_told: Final = ToldOnce()


def _keep_samples(tx: Transaction, samples: Mapping[str, QueueSample]) -> int:
    kept = 0
    for step in STEPS:
        slot = slot_of(tx.now, step)
        for queue, sample in samples.items():
            body = json_of(structs.replace(sample, at=float(slot * step.seconds)))
            kept += tx.run("sample_add", (step.seconds, slot, queue, body))
        tx.run("samples_forget", (step.seconds, slot - step.most + 1, slot))
    return kept


def _are_kept(tx: Transaction, samples: Mapping[str, QueueSample]) -> int | None:
    """Return 0 when all slots have a sample of each queue, None when one may be missing."""
    now = tx.clock.time()
    for step in STEPS:
        present = {queue for (queue,) in tx.rows("samples_present", (step.seconds, slot_of(now, step)))}
        if samples.keys() - present:
            return None
    return 0


def _samples(db: apsw.Connection, step: Step, queues: Sequence[str], now: float) -> dict[str, list[QueueSample]]:
    slot = slot_of(now, step)
    wanted = set(queues)
    found: dict[str, list[QueueSample]] = {}
    for number, queue, body in fetch_named(db, "samples", (step.seconds, slot - step.most + 1, slot)):
        sample = _read(SAMPLE, body, ("sample", db.filename, step.seconds, number, queue))
        if sample is not None and isinstance(queue, str) and (not wanted or queue in wanted):
            found.setdefault(queue, []).append(sample)
    return found


def _add_entries(tx: Transaction, entries: Sequence[Entry]) -> None:
    for each in entries:
        tx.run("entry_add", (each.sort, json_of(structs.replace(each, at=tx.now))))
    for sort in {each.sort for each in entries}:
        tx.run("entries_forget", (sort, MOST_ENTRIES[sort]))


def _journal(db: apsw.Connection, sort: Sort, limit: int) -> list[Entry]:
    read = (
        _read(ENTRY, body, ("journal", db.filename, seq)) for seq, body in fetch_named(db, "entries", (sort, limit))
    )
    return [each for each in read if each is not None]


def _add_costs(tx: Transaction, source: str, number: int, costs: Sequence[Cost]) -> bool:
    day = day_of(tx.now)
    tx.run("cost_sources_forget", (day - 1, day))
    last = tx.one("cost_number", (day - 1, source))
    if isinstance(last, int | float) and last >= number:
        return False
    tx.run("cost_numbered", (day, source, number))
    tx.run("costs_forget", (day - COST_DAYS + 1, day))
    rows = tx.one("costs_count", (day,))
    for each in costs:
        more = (each.runs, each.cpu, each.wall, each.bytes)
        if tx.run("cost_more", (day, each.kind, each.tenant, *more)):
            continue
        tenant = each.tenant if rows < MOST_COSTS else OTHER
        if tenant == each.tenant or not tx.run("cost_more", (day, each.kind, tenant, *more)):
            tx.run("cost_add", (day, each.kind, tenant, *more))
            rows += 1
    return True


def forget_tenant(tx: Transaction, tenant: str) -> None:
    """Add the costs of a tenant to `other` of their kinds: a purge by key leaves no trace of the key."""
    if tenant and tenant != OTHER:
        tx.run("costs_join", (tenant, OTHER))
        tx.run("costs_purge", (tenant,))


def _costs(db: apsw.Connection, days: int, now: float) -> list[Cost]:
    today = day_of(now)
    found = []
    for row in fetch_named(db, "costs", (today - min(days, COST_DAYS) + 1, today)):
        day, kind, tenant, runs, cpu, wall, size = row
        numbers = all(isinstance(each, int | float) for each in (day, runs, cpu, wall, size))
        if numbers and isinstance(kind, str) and isinstance(tenant, str):
            found.append(
                Cost(kind=kind, tenant=tenant, day=int(day), runs=int(runs), cpu=cpu, wall=wall, bytes=int(size))
            )
        elif _told.is_news(("cost", db.filename, *row[:3]), row):
            logger.error("a row of costs cannot be read, and is left out")
    return found


def _read(decode: Callable[[Any], T], body: object, where: tuple[object, ...]) -> T | None:
    """Return a stored value, None with a line in the log for one that cannot be read."""
    try:
        return decode(body)
    except READ_ERRORS as error:
        if _told.is_news(where, repr(body)):
            logger.error("%s: a row cannot be read, and is left out: %s", where[0], error)  # noqa: TRY400
        return None


class SqliteHistory:
    """The part `History` of the store."""

    if TYPE_CHECKING:
        _clock: Clock

        async def _submit(self, run: Callable[[Transaction], T], **how: Any) -> T:
            """Run an operation in a transaction of the writing thread."""
            raise NotImplementedError

        async def _read(self, read: Callable[..., T], *args: object) -> T:
            """Run a read in the reading thread."""
            raise NotImplementedError

    async def keep_samples(self, samples: Mapping[str, QueueSample]) -> int:
        """Keep the samples whose slots are empty; without one, nothing is written."""
        if not samples:
            return 0
        return await self._submit(lambda tx: _keep_samples(tx, samples), peek=lambda tx: _are_kept(tx, samples))

    async def samples(self, step: Step, queues: Sequence[str] = ()) -> dict[str, list[QueueSample]]:
        """Return the samples by queue."""
        return await self._read(_samples, step, queues, self._clock.time())

    async def add_entries(self, entries: Sequence[Entry]) -> None:
        """Add entries to the journal."""
        if entries:
            await self._submit(lambda tx: _add_entries(tx, entries))

    async def journal(self, sort: Sort, limit: int) -> list[Entry]:
        """Return the newest entries of a sort."""
        return await self._read(_journal, sort, limit)

    async def add_costs(self, source: str, number: int, costs: Sequence[Cost]) -> bool:
        """Add costs to those of today."""
        return await self._submit(lambda tx: _add_costs(tx, source, number, costs))

    async def costs(self, days: int) -> list[Cost]:
        """Return the costs of the last days."""
        return await self._read(_costs, days, self._clock.time())
