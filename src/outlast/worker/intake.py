"""Moves the events that a server holds for the app's queues into the store: taken, stored, and only then settled."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

from outlast.core.errors import BodyTooLarge, OutlastError, StoreError
from outlast.core.message import Message
from outlast.core.settlement import Accepted, Exists, Full, Published, TooLarge
from outlast.core.store.inbox import Arrival, HeldArrival, Inbox, RefusedArrival, SettledArrival, StoredArrival
from outlast.worker.store_link import StoreLink

__all__ = ["Intake", "intakes_of"]

BATCH: Final = 200
"""Events that are stored in one step."""
TAKE_WAIT: Final = 30.0
SOONEST: Final = 0.05
LATEST: Final = 5.0
"""The bounds of the seconds after which a full queue is tried again: other jobs may end sooner than was foretold."""
_LAST_STEP: Final = 2.0
"""Seconds that a step under way has when the worker stops."""

Told = Callable[[Sequence[Message], Sequence[Published]], None]


def intakes_of(inbox: Inbox, link: StoreLink, queues: Sequence[str], told: Told) -> list[Intake]:
    """Return the intakes of these queues: one, or one for each queue where each may be on a server of its own."""
    fed = inbox.queues(queues)
    if not fed:
        return []
    groups = [[queue] for queue in fed] if link.store.broker.capabilities.spread else [fed]
    return [Intake(inbox, link, group, told) for group in groups]


class Intake:
    """Moves events into the store, batch by batch, for ever. The server has each event until the store has its job.

    A queue of the store that is full keeps its events on the server, and the other queues go on. told: gets the
    messages and the answers of each batch, for the observers.
    """

    def __init__(self, inbox: Inbox, link: StoreLink, queues: Sequence[str], told: Told) -> None:
        self.queues: Final = queues
        self._inbox = inbox
        self._link = link
        self._told = told
        self._taking: asyncio.Future[list[Arrival]] | None = None
        self._stopping = False
        self._ended = asyncio.Event()

    async def run(self) -> None:
        """Move until `close`. Raise StoreCorrupt, StoreMoved, or StoreStalled when the store does not answer."""
        try:
            while not self._stopping:
                await self.step(wait=TAKE_WAIT)
        finally:
            self._ended.set()

    async def step(self, *, wait: float) -> int:
        """Move one batch; return the number of events that are settled."""
        arrivals = await self._take(wait)
        if not arrivals:
            return 0
        answers = await self._store([each.message for each in arrivals])
        taken = [_taken(*pair) for pair in zip(arrivals, answers, strict=True)]
        await self._inbox.settle(taken)
        stored = [place for place, answer in enumerate(answers) if isinstance(answer, Accepted | Exists)]
        self._told([arrivals[place].message for place in stored], [_published(answers[place]) for place in stored])
        return sum(not isinstance(each, HeldArrival) for each in taken)

    async def close(self) -> None:
        """Take nothing more; let the batch end that is being stored: else some of it would be stored and come again."""
        self._stopping = True
        if self._taking is not None:
            self._taking.cancel()
            with suppress(TimeoutError):
                async with asyncio.timeout(_LAST_STEP):
                    await self._ended.wait()

    async def _take(self, wait: float) -> list[Arrival]:
        """Return what has come; nothing when `close` was called meanwhile."""
        self._taking = asyncio.ensure_future(self._inbox.take(self.queues, limit=BATCH, wait=wait))
        try:
            return await self._taking
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if not self._stopping or (task is not None and task.cancelling()):
                raise
            return []
        finally:
            self._taking.cancel()

    async def _store(self, messages: Sequence[Message]) -> Sequence[Published | OutlastError]:
        """Return the store's answer for each message, or the error for one that it refuses as it is."""
        try:
            return await self._link.retry("intake of events", lambda store: store.broker.publish(messages))
        except StoreError:
            raise
        except OutlastError as error:
            if len(messages) == 1:
                return [error]
        return [(await self._store([each]))[0] for each in messages]


def _published(answer: Published | OutlastError) -> Published:
    assert not isinstance(answer, OutlastError)
    return answer


def _taken(arrival: Arrival, answer: Published | OutlastError) -> SettledArrival:
    match answer:
        case Accepted() | Exists():
            return StoredArrival(arrival)
        case Full(retry_after):
            return HeldArrival(arrival, min(LATEST, max(SOONEST, retry_after)))
        case TooLarge(size, limit, bound):
            return RefusedArrival(arrival, str(BodyTooLarge(arrival.message.kind, size, limit, bound)))
        case OutlastError():
            return RefusedArrival(arrival, str(answer))
    return RefusedArrival(arrival, f"no queue of the store accepts a message for {arrival.message.queue!r}")
