"""The protocol that hands over what a server holds for the queues of an app, until the store has it as jobs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from msgspec import Struct

from outlast.core.message import Message

__all__ = ["Arrival", "Inbox", "HeldArrival", "RefusedArrival", "StoredArrival", "SettledArrival"]


class Arrival(Struct, frozen=True, gc=False):
    """A message of a server, and the job that it becomes. token: names it to the inbox; never used twice."""

    token: int
    message: Message


class StoredArrival(Struct, frozen=True):
    """The store has the job: the server forgets the message."""

    arrival: Arrival


class RefusedArrival(Struct, frozen=True):
    """The store never takes the job: the message becomes a dead letter of its queue on the server, with the reason."""

    arrival: Arrival
    reason: str


class HeldArrival(Struct, frozen=True):
    """The store has no room in the queue: `take` hands out none of its messages for `after` seconds."""

    arrival: Arrival
    after: float


SettledArrival = StoredArrival | RefusedArrival | HeldArrival


class Inbox(Protocol):
    """Hand over messages that a server has routed to queues of the app. Each stays on the server until it is settled.

    A message comes again, with the same job id, when the process or the connection ends before it is settled.
    """

    def queues(self, names: Sequence[str]) -> list[str]:
        """Return the queues that the server feeds: of these, and those that keep what no binding takes."""
        ...

    async def take(self, queues: Sequence[str], *, limit: int, wait: float) -> list[Arrival]:
        """Hand out at most `limit` messages of these queues, in turn, as soon as there is one or after `wait` seconds.

        The first call for a queue begins to consume it. While the server is away, or a queue cannot be consumed, there
        are none: it is logged, and tried again for ever. What cannot become a job is not handed out: it becomes a dead
        letter.
        """
        ...

    async def settle(self, taken: Sequence[SettledArrival]) -> None:
        """Tell what became of these arrivals. One whose connection has ended meanwhile comes again, and is ignored."""
        ...
