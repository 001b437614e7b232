"""Samples, journal and costs on the Redis store, in keys that no script of a job touches."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from struct import unpack
from typing import Any, Final, TypeVar

import msgspec
from msgspec import structs

from outlast.brokers.redis.keyspace import KeyspaceOperations, script
from outlast.clients.redis.client import Argument
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
)
from outlast.core.unreadable import READ_ERRORS, ToldOnce

__all__ = ["HistoryOperations"]

_HISTORY: Final = script("clock", "history")
_log = logging.getLogger("outlast.redis")
_encode: Final = msgspec.json.Encoder().encode
_told: Final = ToldOnce()
_QUEUES: Final = 20
"""Queues whose samples one script reads: it blocks the server for some milliseconds."""
T = TypeVar("T")


class HistoryOperations(KeyspaceOperations):
    """Reads and adds to the history of one keyspace. Times are those of the server."""

    async def keep_samples(self, samples: Mapping[str, QueueSample]) -> int:
        """Keep the samples whose slots are empty."""
        if not samples:
            return 0
        args: list[Argument] = [len(STEPS)]
        for step in STEPS:
            args += [step.seconds, step.most]
        for queue, sample in samples.items():
            args += [queue, _encode(sample)]
        return int(await self._call("keep", *args, again=True))

    async def samples(self, step: Step, queues: Sequence[str] = ()) -> dict[str, list[QueueSample]]:
        """Return the samples by queue."""
        names = list(queues) or await self.keyspace.names()
        found: dict[str, list[QueueSample]] = {}
        rows: list[list[bytes]] = []
        for first in range(0, len(names), _QUEUES):
            rows += await self._call("samples", step.seconds, step.most, *names[first : first + _QUEUES], again=True)
        for queue, row in zip(names, rows, strict=True):
            read = (
                _read(_sample, (int(slot) * step.seconds, body), ("samples", self.keyspace.root, queue, slot))
                for slot, body in zip(row[::2], row[1::2], strict=True)
            )
            if samples := [each for each in read if each is not None]:
                found[queue] = samples
        return found

    async def add_entries(self, entries: Sequence[Entry]) -> None:
        """Add entries to the journal."""
        args: list[Argument] = []
        for each in entries:
            args += [each.sort, MOST_ENTRIES[each.sort], _encode(each)]
        if args:
            await self._call("enter", *args)

    async def journal(self, sort: Sort, limit: int) -> list[Entry]:
        """Return the newest entries of a sort."""
        found = await self._call("journal", sort, limit, again=True)
        read = (
            _read(_entry, pair, ("journal", self.keyspace.root, *pair))
            for pair in zip(found[::2], found[1::2], strict=True)
        )
        return [each for each in read if each is not None]

    async def add_costs(self, source: str, number: int, costs: Sequence[Cost]) -> bool:
        """Add costs to those of today."""
        args: list[Argument] = [source, number, MOST_COSTS, COST_DAYS]
        for each in costs:
            args += [each.kind, each.tenant, each.runs, repr(each.cpu), repr(each.wall), each.bytes]
        return bool(await self._call("charge", *args, again=number > 0))

    async def forget_tenant(self, tenant: str) -> None:
        """Add the costs of a tenant to `other` of their kinds, day by day: a purged key leaves no trace."""
        if tenant and tenant != OTHER:
            for back in range(COST_DAYS):
                await self._call("forget", tenant, back, again=True)

    async def costs(self, days: int) -> list[Cost]:
        """Return the costs of the last days."""
        found: dict[tuple[bytes, bytes], Cost] = {}
        # A script for each day: one for all of them blocked the server for seconds. From today on backwards: a day that
        # is read twice, because another one began meanwhile, counts once.
        for back in range(min(days, COST_DAYS)):
            day, fields = await self._call("costs", back, again=True)
            for key, numbers in zip(fields[::2], fields[1::2], strict=True):
                cost = _read(_cost, (day, key, numbers), ("cost", self.keyspace.root, day, key))
                if cost is not None:
                    found[day, key] = cost
        return sorted(found.values(), key=lambda each: (each.day, each.kind, each.tenant))

    async def _call(self, operation: str, *args: Argument, again: bool = False) -> Any:
        return await self.keyspace.run(_HISTORY, [self.keyspace.root], operation, *args, again=again)


def _sample(row: tuple[int, bytes]) -> QueueSample:
    return structs.replace(SAMPLE(row[1]), at=float(row[0]))


def _entry(row: tuple[bytes, bytes]) -> Entry:
    return structs.replace(ENTRY(row[1]), at=float(row[0]))


def _cost(row: tuple[bytes, bytes, bytes]) -> Cost:
    kind, _, tenant = row[1].decode().partition("\0")
    runs, cpu, wall, size = unpack(">dddd", row[2])
    return Cost(kind=kind, tenant=tenant, day=int(row[0]), runs=int(runs), cpu=cpu, wall=wall, bytes=int(size))


def _read(decode: Callable[[Any], T], row: Any, where: tuple[object, ...]) -> T | None:
    """Return a stored value, None with a line in the log for one that cannot be read."""
    try:
        return decode(row)
    except READ_ERRORS as error:
        if _told.is_news(where, repr(row)):
            _log.error("%s: a row cannot be read, and is left out: %s", where[0], error)
        return None
