"""Claims in one keyspace. A claim whose answer is lost is taken back, or its holder would renew those jobs for ever."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Final
from uuid import uuid4

import msgspec
from msgspec import Struct

from outlast.brokers.redis.codec import unpack
from outlast.brokers.redis.keyspace import Keyspace, KeyspaceOperations
from outlast.brokers.redis.scripts import script
from outlast.core.errors import StoreError, StoreUnavailable, StoreUncertain
from outlast.core.message import Delivery, Fence

__all__ = ["ClaimOperations", "ClaimReply", "ClaimRequest"]

_log = logging.getLogger("outlast.redis")

_CLAIM: Final = script("clock", "base", "claim_plain", "retain", "jobs", "moves", "claim")
_UNDO: Final = script("clock", "base", "retain", "jobs", "moves", "hold")
_encode: Final = msgspec.msgpack.Encoder().encode
RETRY: Final = 0.25
"""Seconds between two attempts to take back."""


class ClaimRequest(Struct, frozen=True):
    """What a claim asks for. last: the queue that gave the last job before.

    waiter: the name that the server notifies when a job comes, if it has none now; "" for no notification.
    """

    demand: Mapping[str, int]
    limit: int
    holder: str
    lease: float
    last: str
    waiter: str
    kinds: tuple[str, ...]


class ClaimReply(Struct, frozen=True):
    """What a claim was given. soon: as in aio.look.Look; AGAIN where purged jobs are still to be passed over."""

    deliveries: list[Delivery]
    last: str
    soon: float | None


class _ClaimSequence(Struct):
    """Claims one after the other, by which the server tells a late one from the next. number: of the last one."""

    name: str
    number: int = 0


class ClaimOperations(KeyspaceOperations):
    """Claims in one keyspace. What is not taken back when the store closes is given back when the lease ends."""

    def __init__(self, keyspace: Keyspace, max_body: int, is_open: Callable[[], bool]) -> None:
        super().__init__(keyspace, max_body, is_open)
        self._idle: list[_ClaimSequence] = []
        self._undoing: set[asyncio.Task[None]] = set()

    async def claim_now(self, request: ClaimRequest) -> ClaimReply:
        """Hand out what may run now. A call that is cancelled, or whose connection ends before the answer, has handed
        out nothing.
        """
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

    async def finish_undoing(self) -> None:
        """Return when what can be taken back has been."""
        if self._undoing:
            await asyncio.gather(*self._undoing, return_exceptions=True)

    async def _claim(self, request: ClaimRequest, sequence: _ClaimSequence) -> ClaimReply:
        queues = sorted(request.demand)
        reply = await self.keyspace.run(
            _CLAIM,
            self.keyspace.keys(queues),
            request.holder,
            request.lease,
            request.limit,
            request.last,
            request.waiter,
            _encode(request.kinds) if request.kinds else b"",
            " ".join(queues),
            sequence.name,
            sequence.number,
            *(request.demand[queue] for queue in queues),
        )
        last = reply[0].decode()
        if len(reply) == 2:
            return ClaimReply([], last, float(reply[1]) if reply[1] else None)
        token = int(reply[1])
        deliveries = []
        fields = iter(reply)
        next(fields), next(fields)
        for number, raw, record in zip(fields, fields, fields, strict=True):
            queue = queues[number >> 36]
            id_ = f"{queue}.{raw.decode()}"
            message = unpack(queue, id_, record)
            deliveries.append(Delivery(message, Fence(id_, queue, token), number & 0xFFFFF, number >> 20 & 0xFFFF))
        return ClaimReply(deliveries, last, None)

    async def _undo(self, claiming: asyncio.Future[ClaimReply], holder: str, sequence: _ClaimSequence) -> None:
        """Take back what the sequence's last claim has handed out to this holder, until the server confirms it."""
        try:
            reply = await claiming
        except StoreUncertain:
            pass
        except StoreError:
            self._idle.append(sequence)
            return
        else:
            if not reply.deliveries:
                self._idle.append(sequence)
                return
        while True:
            try:
                await self.keyspace.run(_UNDO, [self.keyspace.root], "undo", holder, sequence.name, sequence.number)
            except StoreError as error:
                if not isinstance(error, StoreUnavailable):
                    _log.warning("what a claim of %s handed out is not taken back yet: %s", holder, error)
                if not self._is_open():
                    return
                await asyncio.sleep(RETRY)
            else:
                self._idle.append(sequence)
                return
