"""The record of a session, a change of it, and what each store does with them."""

from __future__ import annotations

from typing import Final, Literal, Protocol

from msgspec import Struct

from outlast.toolkit.sessions.rule import SessionRule

__all__ = ["GRACE", "FieldWrite", "SessionChange", "SessionRecord", "SessionSaved", "SessionStore"]

GRACE: Final = 60.0
"""Seconds for which it is known that an id was replaced: a request with it that was on its way makes no new session."""


class SessionRecord(Struct):
    """A session as it is stored. Times are seconds since 1970.

    since: when the user logged in, or it was made. seen: the last use that was noted. ends: its absolute end. until:
    its end without another use. fields: JSON by field. moved: its id was replaced by another; nothing else is kept.
    """

    user: str | None
    since: float
    seen: float
    ends: float
    until: float
    fields: dict[str, bytes]
    moved: bool = False


class FieldWrite(Struct, frozen=True):
    """One field of a change. value: None removes it. checked: whether it must still be `expected`, None for absent."""

    name: str
    value: bytes | None
    checked: bool = False
    expected: bytes | None = None


class SessionChange(Struct, frozen=True, kw_only=True):
    """What one save does, all of it or nothing.

    create: there is no session yet. new_id: the digest that replaces the present one, "" to keep that. user: who has
    logged in, None for no change. clear: remove the fields of another user first.
    """

    rule: SessionRule
    writes: tuple[FieldWrite, ...] = ()
    create: bool = False
    new_id: str = ""
    user: str | None = None
    clear: bool = False


class SessionSaved(Struct, frozen=True):
    """What came of a change. record: as it is stored now, of "saved" and "conflict"."""

    state: Literal["saved", "ended", "conflict", "full"]
    record: SessionRecord | None = None


class SessionStore(Protocol):
    """The sessions of one store, by the digests of their ids. Each call is one step. All raise StoreError.

    An ended session is as none: removed, replaced, or after its `until`.
    """

    def part_of(self, id: str) -> str:  # noqa: A002
        """Return the part of the store that has a session: an id is replaced by one of the same part."""
        ...

    async def load(self, id: str, rule: SessionRule) -> SessionRecord | None:  # noqa: A002
        """Return a session and note its use, at most once in a tenth of the idle time; or that its id was replaced."""
        ...

    async def save(self, id: str, change: SessionChange) -> SessionSaved:  # noqa: A002
        """Do a change, and note the use.

        Of the user's sessions beyond `rule.per_user`, those that were logged in first are ended.
        """
        ...

    async def take(self, id: str, prefix: str) -> dict[str, bytes]:  # noqa: A002
        """Remove the fields whose names begin so; return those that this call has removed."""
        ...

    async def end(self, id: str) -> bool:  # noqa: A002
        """Remove a session; return whether there was one."""
        ...

    async def of_user(self, user: str) -> list[tuple[str, SessionRecord]]:
        """Return the digests and sessions of a user, in the order of their logins."""
        ...

    async def end_user(self, user: str, keep: str) -> int:
        """Remove the sessions of a user, but that of the digest `keep`; return how many."""
        ...
