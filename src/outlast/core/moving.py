"""Taking a waiting job from one store to another: the four commands, and what travels (docs/adr/0012)."""

from __future__ import annotations

from msgspec import Struct

from outlast.core.message import Failure, Message

__all__ = ["Adopt", "Hold", "Moved", "Parcel", "Unhold"]


class Parcel(Struct, frozen=True, kw_only=True):
    """A whole job on its way. `at`: when it is due now, wall time in seconds; `rank`: its place among its equals.

    The message is as it was accepted; its unique key is left out when the job holds it no more.
    """

    message: Message
    at: float
    rank: int
    attempt: int = 1
    crashes: int = 0
    failures: tuple[Failure, ...] = ()


class Hold(Struct, frozen=True):
    """Set a job that waits aside as `waiting`, with `why` as its reason, and answer with its parcel.

    Nobody is handed it, and no command but a purge changes it, until `Unhold` or `Moved`; it does not expire meanwhile,
    and stays through any restart. Holding what is held for the same `why` answers the same again; for another it is
    refused, since it may be at another place already.
    """

    id: str
    why: str


class Adopt(Struct, frozen=True):
    """Keep a job of another store, held as by `Hold`; a full queue takes it. A known id changes nothing: changed 0.

    But one that went from here by `Moved` comes back. Refused: a unique key that another job holds, and a body that is
    too large.
    """

    parcel: Parcel
    why: str


class Moved(Struct, frozen=True):
    """End a held job as cancelled, reason `moved`: it lives in another store now, and can't be redriven here."""

    id: str


class Unhold(Struct, frozen=True):
    """Let a held job wait in line again, where it stood."""

    id: str
