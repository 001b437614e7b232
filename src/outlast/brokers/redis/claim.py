"""Claims in one keyspace. A claim whose reply is lost is undone, or its holder would renew those jobs for ever."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final
from uuid import uuid4

import msgspec
from msgspec import Struct, structs

from outlast.aio.look import AGAIN
from outlast.brokers.redis.codec import unpack
from outlast.brokers.redis.keyspace import DamagedQueue, Keyspace, KeyspaceOperations, script
from outlast.core.errors import StoreError, StoreUnavailable, StoreUncertain
from outlast.core.message import Delivery, Fence
from outlast.core.select import wanted
from outlast.core.unreadable import READ_ERRORS, UNREADABLE

__all__ = ["ClaimOperations", "ClaimReply", "ClaimRequest", "repeat_until_done"]

_log = logging.getLogger("outlast.redis")

_CLAIM: Final = script("clock", "base", "claim_plain", "retain", "jobs", "moves", "succeed", "claim")
_CONTROL: Final = script("clock", "base", "retain", "jobs", "moves", "succeed", "admit", "relimit", "control")
_UNDO: Final = script("clock", "base", "retain", "jobs", "moves", "succeed", "hold")
_encode: Final = msgspec.msgpack.Encoder().encode
RETRY: Final = 0.25
"""Seconds between two attempts of `repeat_until_done`."""


class ClaimRequest(Struct, frozen=True):
    """The arguments of a claim. last: the queue of the last job of the previous claim.

    A queue with demand 0 is sent by its name only: the script opens none of its keys.

    waiter: the name that the server notifies of a job, if it has none now; "" for no notification.
    """

    demand: Mapping[str, int]
    limit: int
    holder: str
    lease: float
    last: str
    waiter: str
    kinds: tuple[str, ...]


class ClaimReply(Struct, frozen=True):
    """The result of a claim. soon: as in aio.look.Look; AGAIN if there are more purged jobs to skip."""

    deliveries: list[Delivery]
    last: str
    soon: float | None


class _ClaimSequence(Struct):
    """A series of claims, each sent after the end of the previous one: by its number the server detects a late one."""

    name: str
    number: int = 0


_Unread = tuple[str, bytes, Exception]
"""Queue, id in it, and error of a job that cannot be read."""


class ClaimOperations(KeyspaceOperations):
    """Claims in one keyspace. Claims that are not undone when the store closes end with the lease."""

    def __init__(self, keyspace: Keyspace, max_body: int, is_open: Callable[[], bool]) -> None:
        super().__init__(keyspace, max_body, is_open)
        self._idle: list[_ClaimSequence] = []
        self._told: set[str] = set()
        """Queues with damaged keys that the log names already."""
        self._unread: list[_Unread] = []
        """Jobs that were handed out and are not set aside yet."""
        self._undoing: set[asyncio.Task[None]] = set()

    async def claim_now(self, request: ClaimRequest) -> ClaimReply:
        """Hand out the jobs that can run now. A call that is cancelled or loses its reply hands out none."""
        sequence = self._idle.pop() if self._idle else _ClaimSequence(uuid4().hex[:16])
        sequence.number += 1
        claiming = asyncio.ensure_future(self._claim(request, sequence))
        try:
            reply = await asyncio.shield(claiming)
        except (asyncio.CancelledError, StoreUncertain):
            undoing = asyncio.create_task(self._undo(claiming, request.holder, sequence), name="outlast-redis-undo")
            self._undoing.add(undoing)
            undoing.add_done_callback(self._undoing.discard)
            raise
        except BaseException:
            self._idle.append(sequence)
            raise
        self._idle.append(sequence)
        return reply

    async def finish_undo(self) -> None:
        """Wait until lost claims are undone, as far as the server answers."""
        if self._undoing:
            await asyncio.gather(*self._undoing, return_exceptions=True)

    async def _claim(self, request: ClaimRequest, sequence: _ClaimSequence) -> ClaimReply:
        """Claim from the queues whose keys can be read; the log names the others once."""
        demand = dict(request.demand)
        while demand or not request.demand:
            try:
                return await self._claim_from(structs.replace(request, demand=demand), sequence)
            except DamagedQueue as error:
                if demand.pop(error.queue, None) is None:
                    raise
                self._tell(error)
        return ClaimReply([], request.last, None)

    def _tell(self, error: DamagedQueue) -> None:
        if error.queue not in self._told:
            self._told.add(error.queue)
            _log.error("queue %r gives no jobs: %s", error.queue, error)

    async def _claim_from(self, request: ClaimRequest, sequence: _ClaimSequence) -> ClaimReply:
        if self._unread:
            await self._set_aside()
        queues = wanted(request.demand)
        reply = await self.keyspace.run(
            _CLAIM,
            self.keyspace.keys(queues),
            request.holder,
            request.lease,
            request.limit,
            request.last,
            request.waiter,
            _encode(request.kinds) if request.kinds else b"",
            " ".join(sorted(request.demand)),
            sequence.name,
            sequence.number,
            *(request.demand[queue] for queue in queues),
        )
        last, _, failed = reply[0].decode().partition(" ")
        await self._explain(failed.split())
        if len(reply) == 2:
            return ClaimReply([], last, float(reply[1]) if reply[1] else None)
        token = int(reply[1])
        deliveries = []
        unread: list[_Unread] = []
        fields = iter(reply)
        next(fields), next(fields)
        for number, raw, record in zip(fields, fields, fields, strict=True):
            queue = queues[number >> 37]
            try:
                id_ = f"{queue}.{raw.decode()}"
                message = unpack(queue, id_, record)
            except READ_ERRORS as error:
                unread.append((queue, raw, error))
                continue
            attempt, crashes, begun = number & 0xFFFFF, number >> 20 & 0xFFFF, bool(number >> 36 & 1)
            deliveries.append(Delivery(message, Fence(id_, queue, token), attempt, crashes, begun))
        if unread:
            await self._set_aside(*unread)
        return ClaimReply(deliveries, last, None if deliveries else AGAIN)

    async def _explain(self, queues: Sequence[str]) -> None:
        """Log, once each, why these queues give no jobs. This raises no StoreError: jobs of others were handed out."""
        for queue in queues:
            if queue in self._told:
                continue
            why: object = "one of its values cannot be read"
            try:
                await self.keyspace.check_types([queue])
            except StoreUnavailable:
                continue
            except StoreError as error:
                why = error
            self._told.add(queue)
            _log.error("queue %r gives no jobs: %s", queue, why)

    async def _set_aside(self, *new: _Unread) -> None:
        """End jobs that were handed out and cannot be read here as dead ("unreadable"): `new` ones, and those before.

        This raises no StoreError, because other jobs were handed out too: the next claim tries it again.
        """
        unread, self._unread = [*self._unread, *new], []
        queues = sorted({queue for queue, _, _ in unread})
        # The ids follow as they are: they may be no text.
        rows = [("spoil", 1 + queues.index(queue), 5 + at) for at, (queue, _, _) in enumerate(unread)]
        keyspace, ids = self.keyspace, [raw for _, raw, _ in unread]
        try:
            await keyspace.run(_CONTROL, keyspace.keys(queues), keyspace.default_limits, _encode(rows), *ids)
        except StoreError as error:
            self._unread += unread
            for queue, raw, _ in new:
                _log.warning("job %s.%s cannot be read, and is not set aside yet: %s", queue, _shown(raw), error)
            return
        for queue, raw, why in unread:
            _log.error("job %s.%s cannot be read, and is dead (%s): %s", queue, _shown(raw), UNREADABLE, why)

    async def _undo(self, claiming: asyncio.Future[ClaimReply], holder: str, sequence: _ClaimSequence) -> None:
        """Release the jobs that the last claim of the sequence handed out to this holder."""
        try:
            done = not (await claiming).deliveries
        except StoreError as error:
            done = not isinstance(error, StoreUncertain)

        def undo() -> Awaitable[object]:
            return self.keyspace.run(_UNDO, [self.keyspace.root], "undo", holder, sequence.name, sequence.number)

        if done or await repeat_until_done(undo, self._is_open, f"a lost claim of {holder}"):
            self._idle.append(sequence)


def _shown(raw: bytes) -> str:
    return raw.decode(errors="backslashreplace")


async def repeat_until_done(undo: Callable[[], Awaitable[object]], is_open: Callable[[], bool], claim: str) -> bool:
    """Undo a claim; repeat it until the server confirms it or the store is closed. Return whether it is done."""
    while True:
        try:
            await undo()
        except StoreError as error:
            if not isinstance(error, StoreUnavailable):
                _log.warning("%s is not undone yet, it is tried again until the store closes: %s", claim, error)
            if not is_open():
                return False
            await asyncio.sleep(RETRY)
        else:
            return True
