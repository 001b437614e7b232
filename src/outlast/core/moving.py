"""Move a waiting job from one store to another: the four commands, and the parcel (docs/adr/0012)."""

from __future__ import annotations

from msgspec import Raw, Struct

from outlast.core.message import Failure, Message

__all__ = ["Adopt", "Hold", "Moved", "Parcel", "Unhold"]


class Parcel(Struct, frozen=True, kw_only=True):
    """A whole job that moves. at: when it is due now, wall time in seconds. rank: its order within its key.

    The message is as it was accepted, without its unique key if the job no longer holds that.
    """

    message: Message
    at: float
    rank: int
    attempt: int = 1
    crashes: int = 0
    begun: bool = False
    failures: tuple[Failure, ...] = ()
    effects: Raw | None = None
    """The results of its effects (`JobRecord.raw_effects`): a move must not repeat them."""


class Hold(Struct, frozen=True):
    """Set a job that does not run to state `waiting`, with `why` as its reason, and answer with its parcel.

    Until `Unhold` or `Moved`, no claim hands it out, no command except a purge changes it, and it does not expire; a
    restart keeps it held. Holding it again for the same `why` gives the same answer; for another one it is refused,
    because the job may be in another store already.
    """

    id: str
    why: str


class Adopt(Struct, frozen=True):
    """Keep a job of another store, held as by `Hold`. A full queue accepts it. A known id changes nothing: changed 0.

    A job that left this store by `Moved` may come back. A unique key that another job holds and a body that is too
    large are refused.
    """

    parcel: Parcel
    why: str


class Moved(Struct, frozen=True):
    """End a held job as cancelled, reason `moved`: it is in another store now and cannot be redriven here."""

    id: str


class Unhold(Struct, frozen=True):
    """Return a held job to its queue, with the rank it had."""

    id: str
