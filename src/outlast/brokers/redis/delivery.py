"""What a holder does with its jobs: settle, extend, save, forfeit as calls of scripts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from outlast.brokers.redis.codec import pack
from outlast.brokers.redis.keyspace import Keyspace, KeyspaceOperations
from outlast.brokers.redis.scripts import script
from outlast.clients.redis.client import Argument
from outlast.core.message import Failure, Fence, Holder, Message
from outlast.core.settlement import Finish, Lost, Note, Park, Release, Reschedule, Settlement

__all__ = ["DeliveryOperations"]

_SETTLE: Final = script("clock", "base", "retain", "settle_plain", "jobs", "moves", "admit", "follow", "settle")
_HOLD: Final = script("clock", "base", "retain", "jobs", "moves", "hold")
_encode: Final = msgspec.msgpack.Encoder().encode
_json: Final = msgspec.json.Encoder().encode
LETTER: Final = {"succeeded": "s", "dead": "d", "cancelled": "c", "expired": "e"}


class _RowBuilder:
    """Builds the rows of one call as the scripts read them, and numbers the queues' keys."""

    def __init__(self, keyspace: Keyspace) -> None:
        self._keyspace = keyspace
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
            to = self.number(item.queue) if self._keyspace.holds(item.queue) else item.queue
            rows.append((to, item.id[len(item.queue) + 1 :], 4 + len(self.records)))
        return rows


def _failure(failure: Failure | None) -> str:
    return "" if failure is None else _json(failure).decode()


class DeliveryOperations(KeyspaceOperations):
    """Settles, renews and gives back what was claimed in one keyspace."""

    async def settle(self, settlements: Sequence[Settlement]) -> list[Lost]:
        """Apply each settlement whose fence still counts, in one step; return the superseded."""
        if not settlements:
            return []
        keyspace = self.keyspace
        builder = _RowBuilder(keyspace)
        rows = builder.rows(settlements)
        reply = await keyspace.run(
            _SETTLE, keyspace.keys(builder.numbers), keyspace.default_limits, _encode(rows), *builder.records
        )
        return [Lost(settlements[index].fence, "superseded") for index in reply]

    async def extend(self, holder: Holder, *, lease: float) -> list[Lost]:
        """Renew the holder's lease; return what is lost or to be cancelled."""
        reply = await self.keyspace.run(_HOLD, [self.keyspace.root], "extend", holder.id, lease)
        lost = []
        for at in range(0, len(reply), 4):
            queue, sid, token, why = (part.decode() for part in reply[at : at + 4])
            fence = Fence(f"{queue}.{sid}", queue, int(token))
            lost.append(Lost(fence, "cancelled" if why == "cancelled" else "superseded"))
        return lost

    async def forfeit(self, holder: Holder, *, crashed: bool) -> int:
        """Make ready all that a dead holder held; return how many jobs it ran."""
        count: int = await self.keyspace.run(_HOLD, [self.keyspace.root], "forfeit", holder.id, int(crashed))
        return count

    async def save(self, notes: Sequence[Note]) -> list[Lost]:
        """Keep notes about running jobs; return the superseded."""
        if not notes:
            return []
        builder = _RowBuilder(self.keyspace)
        rows = [
            (
                builder.number(note.fence.queue),
                note.fence.id[len(note.fence.queue) + 1 :],
                note.fence.token,
                note.name,
                bytes(note.value).decode(),
            )
            for note in notes
        ]
        reply = await self.keyspace.run(_HOLD, self.keyspace.keys(builder.numbers), "save", _encode(rows))
        return [Lost(notes[index].fence, "superseded") for index in reply]
