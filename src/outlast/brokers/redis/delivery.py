"""Hand-outs: claim, settle, extend, save, forfeit as calls of scripts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
from msgspec import Struct

from outlast.brokers.redis.codec import pack, unpack
from outlast.brokers.redis.keyspace import Keyspace
from outlast.brokers.redis.scripts import script
from outlast.clients.redis.client import Argument
from outlast.core.message import Delivery, Failure, Fence, Holder, Message
from outlast.core.settlement import Finish, Lost, Note, Park, Release, Reschedule, Settlement

__all__ = [
    "FURTHER",
    "Asked",
    "Given",
    "Stream",
    "claim",
    "extend",
    "forfeit",
    "save",
    "settle",
    "undo",
]

_CLAIM: Final = script("clock", "base", "claim_plain", "retain", "jobs", "moves", "claim")
_SETTLE: Final = script("clock", "base", "retain", "settle_plain", "jobs", "moves", "admit", "follow", "settle")
_HOLD: Final = script("clock", "base", "retain", "jobs", "moves", "hold")
_encode: Final = msgspec.msgpack.Encoder().encode
_json: Final = msgspec.json.Encoder().encode
LETTER: Final = {"succeeded": "s", "dead": "d", "cancelled": "c", "expired": "e"}


FURTHER: Final = -1.0
"""Instead of seconds: another claim at once comes further past what many purged jobs have left in line."""


class Asked(Struct, frozen=True):
    """What a claim asks for. last: the queue that gave the last job before; bell: who is rung for if there is none."""

    demand: Mapping[str, int]
    limit: int
    holder: str
    lease: float
    last: str
    bell: str
    kinds: tuple[str, ...]


class Stream(Struct):
    """A line of claims, one at a time, by which the server tells a late one from the next. number: of the last one."""

    name: str
    number: int = 0


class Given(Struct, frozen=True):
    """What it was given. soon: the seconds until something may change by itself; None: nothing will."""

    deliveries: list[Delivery]
    last: str
    soon: float | None


async def claim(place: Keyspace, asked: Asked, stream: Stream) -> Given:
    """Hand out what may run now."""
    queues = sorted(asked.demand)
    reply = await place.run(
        _CLAIM,
        place.keys(queues),
        asked.holder,
        asked.lease,
        asked.limit,
        asked.last,
        asked.bell,
        _encode(asked.kinds) if asked.kinds else b"",
        " ".join(queues),
        stream.name,
        stream.number,
        *(asked.demand[queue] for queue in queues),
    )
    last = reply[0].decode()
    if len(reply) == 2:
        return Given([], last, float(reply[1]) if reply[1] else None)
    token = int(reply[1])
    deliveries = []
    parts = iter(reply)
    next(parts), next(parts)
    for number, raw, record in zip(parts, parts, parts, strict=True):
        queue = queues[number >> 36]
        id_ = f"{queue}.{raw.decode()}"
        message = unpack(queue, id_, record)
        deliveries.append(Delivery(message, Fence(id_, queue, token), number & 0xFFFFF, number >> 20 & 0xFFFF))
    return Given(deliveries, last, None)


class _Batch:
    """Settlements as the script reads them, on their way to a place."""

    def __init__(self, place: Keyspace) -> None:
        self._place = place
        self.numbers: dict[str, int] = {}
        self.records: list[Argument] = []

    def number(self, queue: str) -> int:
        """Return the number of a queue's key."""
        number = self.numbers.get(queue)
        if number is None:
            number = self.numbers[queue] = len(self.numbers) + 1
        return number

    def rows(self, settlements: Sequence[Settlement]) -> list[list[Any]]:
        """Return the settlements in their order: in one row those in sequence that succeeded and left nothing."""
        rows: list[list[Any]] = []
        last: list[Any] = []
        plain: tuple[str | None, int] = (None, 0)
        for settlement in settlements:
            fence = settlement.fence
            queue = fence.queue
            if (
                isinstance(settlement, Finish)
                and settlement.state == "succeeded"
                and settlement.result is None
                and not settlement.then
                and settlement.error is None
                and settlement.usage is None
                and settlement.reason is None
            ):
                if plain != (queue, fence.token):
                    plain = (queue, fence.token)
                    last = [self.number(queue), False, fence.token]
                    rows.append(last)
                last.append(fence.id[len(queue) + 1 :])
            else:
                plain = (None, 0)
                rows.append(self._row(settlement))
        return rows

    def _row(self, settlement: Settlement) -> list[Any]:
        fence = settlement.fence
        row: list[Any] = [self.number(fence.queue), fence.id[len(fence.queue) + 1 :], fence.token]
        match settlement:
            case Finish():
                result = False if settlement.result is None else bytes(settlement.result).decode()
                usage = "" if settlement.usage is None else _json(settlement.usage).decode()
                row += ["f", LETTER[settlement.state], settlement.reason or "", result, settlement.result_ttl]
                row += [_failure(settlement.error), usage, self._then(settlement.then)]
            case Reschedule():
                row += ["r", settlement.at, settlement.attempt, settlement.crashes, _failure(settlement.error)]
                row.append(self._then(settlement.then))
            case Release():
                row += ["l", False if settlement.at is None else settlement.at]
            case Park():
                row += ["p", settlement.at]
        return row

    def _then(self, then: Sequence[Message]) -> list[tuple[int | str, str, int]]:
        rows: list[tuple[int | str, str, int]] = []
        for item in then:
            self.records.append(pack(item))
            to = self.number(item.queue) if self._place.holds(item.queue) else item.queue
            rows.append((to, item.id[len(item.queue) + 1 :], 4 + len(self.records)))
        return rows


def _failure(failure: Failure | None) -> str:
    return "" if failure is None else _json(failure).decode()


async def settle(place: Keyspace, settlements: Sequence[Settlement]) -> list[Lost]:
    """Apply what still counts, in one step; return the rest."""
    batch = _Batch(place)
    rows = batch.rows(settlements)
    reply = await place.run(_SETTLE, place.keys(batch.numbers), place.default_limits, _encode(rows), *batch.records)
    return [Lost(settlements[index].fence, "superseded") for index in reply]


async def extend(place: Keyspace, holder: Holder, lease: float) -> list[Lost]:
    """Renew the holder's lease; return what is lost or to be cancelled."""
    reply = await place.run(_HOLD, [place.root], "extend", holder.id, lease)
    lost = []
    for at in range(0, len(reply), 4):
        queue, sid, token, why = (part.decode() for part in reply[at : at + 4])
        fence = Fence(f"{queue}.{sid}", queue, int(token))
        lost.append(Lost(fence, "cancelled" if why == "cancelled" else "superseded"))
    return lost


async def forfeit(place: Keyspace, holder: Holder, *, crashed: bool) -> int:
    """Make ready all that a dead holder held; return how many jobs it ran."""
    count: int = await place.run(_HOLD, [place.root], "forfeit", holder.id, int(crashed))
    return count


async def undo(place: Keyspace, holder: str, stream: Stream) -> int:
    """Take back what the stream's last claim handed out to this holder, come what may of it; return how many jobs."""
    count: int = await place.run(_HOLD, [place.root], "undo", holder, stream.name, stream.number)
    return count


async def save(place: Keyspace, notes: Sequence[Note]) -> list[Lost]:
    """Keep notes of the fences that count; return the rest."""
    batch = _Batch(place)
    rows = [
        (
            batch.number(note.fence.queue),
            note.fence.id[len(note.fence.queue) + 1 :],
            note.fence.token,
            note.name,
            bytes(note.value).decode(),
        )
        for note in notes
    ]
    reply = await place.run(_HOLD, place.keys(batch.numbers), "save", _encode(rows))
    return [Lost(notes[index].fence, "superseded") for index in reply]
