"""What a lock needs of a store: to ask for a turn, to keep it, and to leave; the places of those who hold and wait."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol

from msgspec import Struct

from outlast.aio.notifier import Notifier

__all__ = ["TICKET", "Turn", "Ask", "Holding", "LockStore"]

TICKET: Final = 3.0
"""Seconds for which a place in line is kept without another ask: a waiter that died delays the others so long."""


PROCESS: Final = 8
"""The characters with which the ids of all holders of one process begin: a store may tell the one process alone."""


class Ask(Struct, frozen=True):
    """A request for one of `slots` turns of a key, repeated by a waiter to keep its place in line.

    holder: an id of this one acquisition, so that a repeated ask is the same. lease: seconds. join: stand in line when
    none is free. seen: the last token that this process saw; the new one is larger.
    """

    key: str
    holder: str
    slots: int
    lease: float
    join: bool
    seen: int


class Turn(Struct, frozen=True):
    """token: of the turn that the holder has, 0 when it waits. ticket: its place in line, smaller is sooner.

    soon: seconds until a lease or a place of another ends, after which it is worth while to ask again.
    """

    token: int = 0
    ticket: int = 0
    soon: float = TICKET


class Holding(Struct, frozen=True):
    """A turn to be kept for `lease` more seconds, or a place to be left."""

    key: str
    holder: str
    lease: float = 0.0


class LockStore(Protocol):
    """The places of one store. Every call raises StoreError, and may be repeated.

    Tokens grow: each is max(the last one of the store + 1, the store's wall time in microseconds, the last one that the
    caller saw + 1). Times of leases are of the store's own clock.
    """

    async def ask(self, ask: Ask) -> Turn:
        """Take a turn if one is free and no other waits for it, keep one that the holder has, or stand in line."""

    async def renew(self, held: Sequence[Holding]) -> set[str]:
        """Keep turns; return the holders that have none any more."""

    async def leave(self, held: Holding) -> None:
        """Give up the turn or the place in line, and notify those who wait."""

    def listen(self, key: str, holder: str) -> Notifier:
        """Return what is notified when a turn of the key may be free for one of this process, such as this holder."""
