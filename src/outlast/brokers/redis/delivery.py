"""The operations of a holder in one keyspace: settle, extend, save, forfeit."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from outlast.brokers.redis.codec import LETTERS, pack
from outlast.brokers.redis.keyspace import DamagedQueue, Keyspace, KeyspaceOperations, script
from outlast.clients.redis.client import Argument
from outlast.core.message import Failure, Fence, Holder, Message
from outlast.core.settlement import Finish, Lost, Note, Park, Release, Reschedule, Settlement

__all__ = ["DeliveryOperations", "RowBuilder"]

_log = logging.getLogger("outlast.redis")

_SETTLE: Final = script(
    "clock", "base", "retain", "settle_plain", "jobs", "moves", "succeed", "admit", "follow", "settle"
)
_HOLD: Final = script("clock", "base", "retain", "jobs", "moves", "succeed", "hold")
AGAIN: Final = 60.0
"""Seconds after which a job runs again whose follow-up belongs to a queue with a key of a wrong type."""
_encode: Final = msgspec.msgpack.Encoder().encode
_json: Final = msgspec.json.Encoder().encode


class RowBuilder:
    """Builds the rows of one script call, and numbers the KEYS of its queues.

    first: the index in ARGV of the first of `records`, the records of follow-ups.
    """

    def __init__(self, keyspace: Keyspace, first: int = 5) -> None:
        self._keyspace = keyspace
        self._first = first
        self.numbers: dict[str, int] = {}
        self.records: list[Argument] = []

    def number(self, queue: str) -> int:
        """Return the number of a queue among the KEYS."""
        number = self.numbers.get(queue)
        if number is None:
            number = self.numbers[queue] = len(self.numbers) + 1
        return number

    def rows(self, settlements: Sequence[Settlement]) -> list[list[Any]]:
        """Return the settlements in order. Adjacent jobs that succeeded, without result or follow-ups, share a row."""
        rows: list[list[Any]] = []
        last: list[Any] = []
        kind: str | None = None
        """Of all jobs of the row so far; None where they differ."""
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
                    kind = settlement.kind
                    last = [self.number(queue), False, fence.token, kind]
                    rows.append(last)
                elif kind is None:
                    last[3].append(settlement.kind)
                elif kind != settlement.kind:
                    last[3] = [*(len(last) - 4) * [kind], settlement.kind]
                    kind = None
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
                row += ["f", LETTERS[settlement.state], settlement.reason or "", result, settlement.result_ttl]
                row += [_failure(settlement.error), usage, self.follow_ups(settlement.then)]
            case Reschedule():
                row += ["r", settlement.at, settlement.attempt, settlement.crashes, _failure(settlement.error)]
                row += [self.follow_ups(settlement.then), int(settlement.begun)]
            case Release():
                row += ["l", False if settlement.at is None else settlement.at, int(settlement.begun)]
                row.append(settlement.waits_for or False)
            case Park():
                row += ["p", settlement.at]
        return row

    def follow_ups(self, messages: Sequence[Message]) -> list[tuple[int | str, str, int]]:
        """Return the rows of follow-ups (lua/follow.lua); add their records."""
        rows: list[tuple[int | str, str, int]] = []
        for message in messages:
            queue = message.queue
            to = self.number(queue) if self._keyspace.holds(queue) else queue
            rows.append((to, message.id[len(queue) + 1 :], self._first + len(self.records)))
            self.records.append(pack(message))
        return rows


def _follows_into(queue: str, settlement: Settlement) -> bool:
    then = settlement.then if isinstance(settlement, Finish | Reschedule) else ()
    return any(message.queue == queue for message in then)


def _failure(failure: Failure | None) -> str:
    return "" if failure is None else _json(failure).decode()


class DeliveryOperations(KeyspaceOperations):
    """Settles, extends and forfeits the claimed jobs of one keyspace."""

    async def settle(self, settlements: Sequence[Settlement]) -> list[Lost]:
        """Apply each settlement whose fence counts, in one step; return the superseded ones."""
        if not settlements:
            return []
        try:
            return await self._settle(settlements)
        except DamagedQueue as error:
            # A settlement that blocks its batch would keep the jobs of all other queues from being settled.
            others = [each for each in settlements if each.fence.queue != error.queue]
            follows = [each for each in others if _follows_into(error.queue, each)]
            if len(others) == len(settlements) and not follows:
                raise
            _log.error("the ends of jobs of queue %r are lost, and they run again: %s", error.queue, error)
            if follows:
                at = await self.keyspace.time() + AGAIN
                for each in follows:
                    others[others.index(each)] = Release(
                        each.fence, at, "its follow-up could not be stored", begun=True
                    )
                    _log.error("job %s: its follow-up could not be stored, it runs again in 60 s", each.fence.id)
            superseded = {each.fence for each in await self.settle(others)}
            return [
                Lost(each.fence, "superseded")
                for each in settlements
                if each.fence.queue == error.queue or each.fence in superseded
            ]

    async def _settle(self, settlements: Sequence[Settlement]) -> list[Lost]:
        keyspace = self.keyspace
        builder = RowBuilder(keyspace)
        rows = builder.rows(settlements)
        reply = await keyspace.run(
            _SETTLE, keyspace.keys(builder.numbers), keyspace.default_limits, _encode(rows), *builder.records
        )
        return [Lost(settlements[index].fence, "superseded") for index in reply]

    async def extend(self, holder: Holder, *, lease: float) -> list[Lost]:
        """Renew the holder's lease; return the lost jobs and those to cancel."""
        reply = await self.keyspace.run(_HOLD, [self.keyspace.root], "extend", holder.id, lease)
        lost = []
        for at in range(0, len(reply), 4):
            queue, sid, token, why = (part.decode() for part in reply[at : at + 4])
            fence = Fence(f"{queue}.{sid}", queue, int(token))
            lost.append(Lost(fence, "cancelled" if why == "cancelled" else "superseded"))
        return lost

    async def forfeit(self, holder: Holder, *, crashed: bool) -> int:
        """Make all jobs of a dead holder ready; return their number."""
        count: int = await self.keyspace.run(_HOLD, [self.keyspace.root], "forfeit", holder.id, int(crashed))
        return count

    async def save(self, notes: Sequence[Note]) -> list[Lost]:
        """Keep notes about running jobs; return the superseded ones."""
        if not notes:
            return []
        builder = RowBuilder(self.keyspace)
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
