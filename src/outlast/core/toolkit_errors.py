"""The errors of the toolkit's pieces; each message names the setting and the fix."""

from __future__ import annotations

from collections.abc import Sequence

from outlast.core.errors import OutlastError, StoreUnavailable
from outlast.core.text import shown

__all__ = [
    "BoardFull",
    "LockLost",
    "LockTimeout",
    "ObjectDamaged",
    "ObjectNotFound",
    "SessionConflict",
    "SessionEnded",
    "SessionFull",
    "ToolkitAway",
]


class BoardFull(OutlastError):
    """A leaderboard or a unique count has `limit` members and takes no new one; nothing was changed."""

    def __init__(self, board: str, limit: int) -> None:
        super().__init__(f"{board} has max_members={limit:,}: raise it, or declare a shorter period")
        self.limit = limit


class ToolkitAway(StoreUnavailable):
    """The store of the toolkit does not answer, or did not a moment ago; each piece then takes its documented side.

    uncertain: whether the call may have been done. retry_after: seconds from which on it may answer, None if not known.
    by_deadline: the deadline of the caller has passed, which says nothing about the store.
    """

    def __init__(
        self,
        store: str,
        why: str,
        *,
        uncertain: bool = False,
        retry_after: float | None = None,
        by_deadline: bool = False,
    ) -> None:
        super().__init__(f"the toolkit's store {store} is away ({why})")
        self.uncertain = uncertain
        self.retry_after = retry_after
        self.by_deadline = by_deadline


class ObjectNotFound(OutlastError, LookupError):
    """The object store has no object of this key. key: of the object."""

    def __init__(self, key: str, why: str = "it was never put there, or was deleted") -> None:
        super().__init__(f"no object {key!r}: {why}")
        self.key = key


class ObjectDamaged(OutlastError):
    """The object is not what was put: its size or its SHA-256 differs. key: of the object."""

    def __init__(self, key: str, why: str) -> None:
        super().__init__(f"object {key!r} is damaged: {why}")
        self.key = key


class LockTimeout(OutlastError, TimeoutError):
    """Others had the lock until `wait` seconds, or the deadline around the call, had passed; the body did not run."""

    def __init__(self, name: str, waited: float) -> None:
        super().__init__(
            f"lock {shown(name)} was held by others for {waited:g} s: give a longer wait=, hold it for less time, or "
            "do without it for now"
        )
        self.name = name
        self.waited = waited


class LockLost(OutlastError):
    """The lease of a lock ended while its body ran, so that another may have the lock; the body was cancelled.

    What it wrote elsewhere with its `token` is refused where a newer token is known. why: what ended the lease.
    """

    def __init__(self, name: str, token: int, why: str) -> None:
        super().__init__(f"lock {shown(name)} (token {token}) was lost: {why}")
        self.name = name
        self.token = token
        self.why = why


class SessionEnded(OutlastError):
    """The session was ended or has expired, or its id was replaced, since this request began; nothing was written."""

    def __init__(self) -> None:
        super().__init__(
            "the session was ended, or its id replaced, after this request began, so that nothing was written: send "
            "the request again with the present cookie"
        )


class SessionConflict(OutlastError):
    """Another request has changed a field that this one has read and changed; nothing was written.

    fields: those that this one has read and changed.
    """

    def __init__(self, fields: Sequence[str]) -> None:
        super().__init__(
            f"another request has changed the session meanwhile, in {', '.join(map(repr, fields))} or a part of it, so "
            "that nothing was written: use session.update(field, function), or do it again"
        )
        self.fields = tuple(fields)


class SessionFull(OutlastError):
    """The session would hold more than its bounds; nothing was written."""

    def __init__(self, max_fields: int, max_bytes: int) -> None:
        super().__init__(
            f"the session would hold more than max_fields={max_fields:,} or max_bytes={max_bytes:,}: keep large values "
            "elsewhere and their keys here, or raise the bound in shop.sessions(...)"
        )
