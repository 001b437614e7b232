"""Messages on their way in, and what the server answers about each."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Final, cast

from outlast.brokers.redis.codec import pack
from outlast.brokers.redis.keyspace import Keyspace
from outlast.brokers.redis.scripts import script
from outlast.clients.redis.client import Argument
from outlast.core.errors import StoreError, StoreUncertain
from outlast.core.message import Message
from outlast.core.settlement import ACCEPTED, Accepted, Exists, Full, FullBound, Published, TooLarge

__all__ = ["Publisher", "answer_of"]

_PUBLISH: Final = script("clock", "publish_plain", "base", "retain", "jobs", "moves", "admit", "publish")
MOST: Final = 500
"""Messages of one call: it holds up the server for some milliseconds."""


class Publisher:
    """Takes what many coroutines publish at the same time to the server in one call: who comes first goes at once, and
    those who come meanwhile go together. Each of them is kept as a whole, or not at all.
    """

    def __init__(self, place: Keyspace, max_body: int) -> None:
        self._place = place
        self._max_body = max_body
        self._waiting: list[_Parcel] = []
        self._busy = False
        self._sending: set[asyncio.Task[None]] = set()

    async def publish(self, messages: Sequence[Message]) -> list[Published]:
        """Keep the messages, up to MOST of them in one step; the answers align with the input."""
        if len(messages) > MOST:
            answers: list[Published] = []
            for start in range(0, len(messages), MOST):
                try:
                    answers += await self.publish(messages[start : start + MOST])
                except StoreError as error:
                    if start == 0:
                        raise
                    raise StoreUncertain(f"of {len(messages)} messages the first {start} are kept: {error}") from error
            return answers
        if len(messages) == 1 and not self._busy:
            return [await self._publish_one(messages[0])]
        parcel = _Parcel(messages, self._max_body)
        if not parcel.rows:
            return parcel.answers
        if self._busy:
            parcel.done = asyncio.get_running_loop().create_future()
            self._waiting.append(parcel)
            await parcel.done
            return parcel.answers
        self._busy = True
        try:
            await _send(self._place, [parcel])
        finally:
            self._go_on()
        return parcel.answers

    async def _publish_one(self, message: Message) -> Published:
        """Keep a message that nobody else's goes along with: the most frequent case, so without a parcel."""
        if len(message.args) > self._max_body:
            return TooLarge(len(message.args), self._max_body)
        place, queue = self._place, message.queue
        args = (place.default_limits, 2, message.id[len(queue) + 1 :], pack(message))
        self._busy = True
        try:
            reply = await place.run(_PUBLISH, place.keys((queue,)), *args, sure=True, again=True)
        finally:
            self._go_on()
        return answer_of(queue, reply[1]) if reply else ACCEPTED

    def _go_on(self) -> None:
        """Send what came meanwhile, if anything did."""
        if not self._waiting:
            self._busy = False
            return
        sending = asyncio.create_task(self._send_waiting(), name="outlast-redis-publish")
        self._sending.add(sending)
        sending.add_done_callback(self._sending.discard)

    async def _send_waiting(self) -> None:
        parcels: list[_Parcel] = []
        size = 0
        while self._waiting and (not parcels or size + len(self._waiting[0].rows) <= MOST):
            parcel = self._waiting.pop(0)
            if parcel.done is not None and not parcel.done.done():  # else its caller was cancelled before it went
                parcels.append(parcel)
                size += len(parcel.rows)
        try:
            if parcels:
                await _send(self._place, parcels)
        except BaseException as error:
            for parcel in parcels:
                if parcel.done is not None and not parcel.done.done():
                    parcel.done.set_exception(error)
                    parcel.done.exception()  # its caller may be cancelled in this very turn
            if not isinstance(error, Exception):
                raise
        else:
            for parcel in parcels:
                if parcel.done is not None and not parcel.done.done():
                    parcel.done.set_result(None)
        finally:
            self._go_on()


class _Parcel:
    """The messages of one caller: those that are not too large as rows for the server, and the answers so far."""

    __slots__ = ("answers", "done", "rows")

    def __init__(self, messages: Sequence[Message], max_body: int) -> None:
        self.answers: list[Published] = [ACCEPTED] * len(messages)
        self.rows: list[tuple[int, str, str, bytes]] = []
        self.done: asyncio.Future[None] | None = None
        for index, message in enumerate(messages):
            if len(message.args) > max_body:
                self.answers[index] = TooLarge(len(message.args), max_body)
            else:
                queue = message.queue
                self.rows.append((index, queue, message.id[len(queue) + 1 :], pack(message)))


async def _send(place: Keyspace, parcels: Sequence[_Parcel]) -> None:
    """Send the rows of these parcels in one call, and write down their answers."""
    first = parcels[0].rows[0][1]
    numbers = {first: 1}
    args: list[Argument] = [place.default_limits, 2]
    for parcel in parcels:
        for _, queue, sid, record in parcel.rows:
            if queue != first:
                numbers.setdefault(queue, len(numbers) + 1)
            args += (sid, record)
    if len(numbers) > 1:
        args = [place.default_limits, 3]
        for parcel in parcels:
            for _, queue, sid, record in parcel.rows:
                args += (numbers[queue], sid, record)
    reply = await place.run(_PUBLISH, place.keys(numbers), *args, sure=True, again=True)
    if reply:
        rows = [(parcel, row) for parcel in parcels for row in parcel.rows]
        for position in range(0, len(reply), 2):
            parcel, row = rows[reply[position]]
            parcel.answers[row[0]] = answer_of(row[1], reply[position + 1])


def answer_of(queue: str, answer: list[Any]) -> Published:
    """Return what lua/admit.lua says about one message that was not simply accepted."""
    match answer[0]:
        case b"exists":
            return Exists(f"{queue}.{answer[2].decode()}", "id" if answer[1] == b"id" else "unique")
        case b"full":
            return Full(float(answer[2]), cast("FullBound", answer[1].decode()))
        case b"large":
            return TooLarge(answer[1], answer[2], answer[3].decode())
    shed = tuple(f"{queue}.{sid.decode()}" for sid in answer[2:])
    return Accepted(f"{queue}.{answer[1].decode()}" if answer[1] else None, shed)
