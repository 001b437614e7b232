"""Publishes in one keyspace, and the server's answers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Final, Literal, cast

from outlast.brokers.redis.codec import pack
from outlast.brokers.redis.keyspace import DamagedQueue, Keyspace, KeyspaceOperations, script
from outlast.clients.redis.client import Argument
from outlast.core.errors import StoreError, StoreUncertain
from outlast.core.exchanges.copies import refused_size
from outlast.core.message import Message
from outlast.core.settlement import ACCEPTED, Accepted, Exists, Full, FullBound, Published, TooLarge

__all__ = ["PublishOperations", "answer_of"]

_PUBLISHING: Final = ("publish_plain", "base", "retain", "jobs", "moves", "succeed", "admit", "publish")
_PUBLISH: Final = script("clock", *_PUBLISHING)
_PUBLISH_BOUND: Final = script("clock", "version", "bound", *_PUBLISHING)
MOST: Final = 500
"""Messages of one script call: it blocks the server for some milliseconds."""


class PublishOperations(KeyspaceOperations):
    """Publishes in one keyspace; concurrent calls are merged.

    The first call is sent at once, the calls before its answer are sent together. Each call is kept in full or not at
    all.
    """

    def __init__(self, keyspace: Keyspace, max_body: int, is_open: Callable[[], bool]) -> None:
        super().__init__(keyspace, max_body, is_open)
        self._unsent: list[_PublishCall] = []
        self._publishing = False
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
        if len(messages) == 1 and not self._publishing:
            return [await self._publish_one(messages[0])]
        call = _PublishCall(messages, self._max_body)
        await self._publish_call(call)
        return call.answers

    async def publish_bound(self, messages: Sequence[Message], version: int) -> list[Published] | None:
        """Keep copies of events in one step; return None if the bindings of this keyspace have another version."""
        call = _PublishCall(messages, self._max_body, version)
        await self._publish_call(call)
        return None if call.stale else call.answers

    async def _publish_call(self, call: _PublishCall) -> None:
        if not call.rows:
            return
        if self._publishing:
            call.done = asyncio.get_running_loop().create_future()
            self._unsent.append(call)
            await call.done
            return
        self._publishing = True
        try:
            await _send(self.keyspace, [call])
        finally:
            self._send_next()

    async def _publish_one(self, message: Message) -> Published:
        """Keep a message that is merged with no other: the most frequent case, so without a _PublishCall."""
        if (large := refused_size(message, self._max_body)) is not None:
            return large
        keyspace, queue = self.keyspace, message.queue
        sid, record = message.id[len(queue) + 1 :], pack(message)
        args: tuple[Argument, ...] = (keyspace.default_limits, 2, sid, record)
        if message.max_wait is not None:
            args = (keyspace.default_limits, 4, 1, sid, record, message.max_wait)
        self._publishing = True
        try:
            reply = await keyspace.run(_PUBLISH, keyspace.keys((queue,)), *args, sure=True, again=True)
        finally:
            self._send_next()
        return answer_of(queue, reply[1]) if reply else ACCEPTED

    def _send_next(self) -> None:
        """Send the calls that came during the last one, if there are any."""
        if not self._unsent:
            self._publishing = False
            return
        sending = asyncio.create_task(self._send_unsent(), name="outlast-redis-publish")
        self._sending.add(sending)
        sending.add_done_callback(self._sending.discard)

    async def _send_unsent(self) -> None:
        calls: list[_PublishCall] = []
        size = 0
        while self._unsent and (not calls or self._unsent[0].joins(calls[0], size)):
            call = self._unsent.pop(0)
            if call.done is not None and not call.done.done():  # else its caller was cancelled before it was sent
                calls.append(call)
                size += len(call.rows)
        try:
            while calls:
                calls = await self._send_merged(calls)
        finally:
            self._send_next()

    async def _send_merged(self, calls: list[_PublishCall]) -> list[_PublishCall]:
        """Send calls and answer them; return those that failed only for a damaged key of the queue of another."""
        rest: list[_PublishCall] = []
        try:
            await _send(self.keyspace, calls)
        except BaseException as error:
            if isinstance(error, DamagedQueue):
                rest = [call for call in calls if all(queue != error.queue for _, queue, _, _ in call.rows)]
            if len(rest) == len(calls):
                rest = []
            for call in calls:
                if call not in rest and call.done is not None and not call.done.done():
                    call.done.set_exception(error)
                    call.done.exception()  # else asyncio logs it if the caller is cancelled in this turn of the loop
            if not isinstance(error, Exception):
                raise
        else:
            for call in calls:
                if call.done is not None and not call.done.done():
                    call.done.set_result(None)
        return rest


class _PublishCall:
    """The messages of one caller: the rows for the server, without messages that are too large, and the answers.

    version: of the bindings by which they were made. stale: these have another version now, and nothing was kept.
    """

    __slots__ = ("answers", "done", "rows", "stale", "version", "waits")

    def __init__(self, messages: Sequence[Message], max_body: int, version: int | None = None) -> None:
        self.version = version
        self.stale = False
        self.answers: list[Published] = [ACCEPTED] * len(messages)
        self.rows: list[tuple[int, str, str, bytes]] = []
        self.waits: dict[int, float] = {}
        """By the index of a message, its `max_wait`."""
        self.done: asyncio.Future[None] | None = None
        for index, message in enumerate(messages):
            if (large := refused_size(message, max_body)) is not None:
                self.answers[index] = large
            else:
                queue = message.queue
                if message.max_wait is not None:
                    self.waits[index] = message.max_wait
                self.rows.append((index, queue, message.id[len(queue) + 1 :], pack(message)))

    def joins(self, other: _PublishCall, size: int) -> bool:
        """Return whether it can be sent together with another call, and `size` rows in all."""
        return self.version == other.version and size + len(self.rows) <= MOST


async def _send(keyspace: Keyspace, calls: Sequence[_PublishCall]) -> None:
    """Send the rows of these calls, which have one version, in one script call, and set their answers."""
    first = calls[0].rows[0][1]
    numbers = {first: 1}
    args: list[Argument] = [keyspace.default_limits, 2]
    for call in calls:
        for _, queue, sid, record in call.rows:
            if queue != first:
                numbers.setdefault(queue, len(numbers) + 1)
            args += (sid, record)
    if len(numbers) > 1:
        args = [keyspace.default_limits, 3]
        for call in calls:
            for _, queue, sid, record in call.rows:
                args += (numbers[queue], sid, record)
    if any(call.waits for call in calls):
        args = [keyspace.default_limits, 4]
        for call in calls:
            for index, queue, sid, record in call.rows:
                args += (numbers[queue], sid, record, call.waits.get(index, ""))
    called = _PUBLISH
    if calls[0].version is not None:
        called = _PUBLISH_BOUND
        args.append(calls[0].version)
    reply = await keyspace.run(called, keyspace.keys(numbers), *args, sure=True, again=True)
    if reply == b"STALE":
        for call in calls:
            call.stale = True
    elif reply:
        rows = [(call, row) for call in calls for row in call.rows]
        for position in range(0, len(reply), 2):
            call, row = rows[reply[position]]
            call.answers[row[0]] = answer_of(row[1], reply[position + 1])


def answer_of(queue: str, answer: list[Any]) -> Published:
    """Return an answer of lua/admit.lua other than plain acceptance."""
    match answer[0]:
        case b"exists":
            by: Literal["id", "unique"] = "id" if answer[1] == b"id" else "unique"
            return Exists(f"{queue}.{answer[2].decode()}", by, answer[3].decode(errors="replace"))
        case b"full":
            return Full(float(answer[2]), cast("FullBound", answer[1].decode()), float(answer[3]))
        case b"large":
            return TooLarge(answer[1], answer[2], answer[3].decode())
    shed = tuple(f"{queue}.{sid.decode()}" for sid in answer[2:])
    return Accepted(f"{queue}.{answer[1].decode()}" if answer[1] else None, shed)
