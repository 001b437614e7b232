"""What the cache asks of a store: entries, the lease of the one computation for a key, and versions of tags."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from outlast.aio.notifier import Notifier

if TYPE_CHECKING:
    from outlast.toolkit.cache.near import NearCopies

__all__ = ["CHANGE", "Begun", "CacheDraft", "CacheEntry", "CacheStore", "Seen", "Versions"]

CHANGE: Final = "flight"
"""The change that a store notifies when a computation has ended."""

Versions = dict[str, str]
"""The version of each tag. One is never used twice, so that an entry with another one than the present is dead."""


class CacheEntry(Struct, frozen=True):
    """A value as it is kept. id: of the computation that made it. body: the packed value (see `ValuePacking`).

    left: seconds until it is no longer fresh, below 0 after that. cost: seconds that its computation took.
    """

    id: str
    body: bytes
    left: float
    cost: float
    tags: Versions


class CacheDraft(Struct, frozen=True):
    """A value to be kept. fresh, kept: seconds from now; after `kept` it is gone."""

    id: str
    body: bytes
    fresh: float
    kept: float
    cost: float
    tags: Versions


class Seen(Struct, frozen=True):
    """What a look found. entry: None when there is none, or one of its tags was invalidated.

    past: the id of the entry that is there, whether it is of use or not; "" without one. lease: the id of the
    computation that is under way; "" without one.
    """

    entry: CacheEntry | None
    past: str
    lease: str


class Begun(Struct, frozen=True):
    """What became of the wish to compute. led: the caller has the lease. seen: what there is, when it has not.

    tags: the versions that the value must bear, as they were before its computation.
    """

    led: bool
    seen: Seen
    tags: Versions


class CacheStore(ABC):
    """Entries, leases and tags on one kind of store. Keys and tags are texts of `key_text`; all raise StoreError."""

    @abstractmethod
    async def look(self, key: str) -> Seen:
        """Return what is there."""

    @abstractmethod
    async def versions(self, tags: Sequence[str]) -> Versions:
        """Return the present versions of the tags that have one."""

    @abstractmethod
    async def begin(
        self, key: str, lease_id: str, tags: Sequence[str], *, lease: float, kept: float, past: str
    ) -> Begun:
        """Take the lease of a key for `lease` seconds, unless it is taken, or another fresh entry than `past` is there.

        The versions of the tags, made where there is none, are read before; they last longer than `kept` seconds.
        """

    @abstractmethod
    async def renew(self, key: str, lease_id: str, lease: float) -> bool:
        """Let the lease end in `lease` seconds; return whether it is still held."""

    @abstractmethod
    async def finish(self, key: str, draft: CacheDraft) -> bool:
        """Keep the value and end the lease `draft.id`, if that is still held; return whether it was."""

    @abstractmethod
    async def abandon(self, key: str, lease_id: str) -> None:
        """End the lease, if it is still held."""

    @abstractmethod
    async def put(self, key: str, draft: CacheDraft, tags: Sequence[str]) -> None:
        """Keep a value with the present versions of `tags`, and void the lease of the key."""

    @abstractmethod
    async def delete(self, key: str) -> bool:
        """Remove the entry and void the lease of the key; return whether there was an entry."""

    @abstractmethod
    async def invalidate(self, tags: Sequence[str]) -> None:
        """Make all entries with one of these tags dead, those under way included; one step for each tag."""

    def track(self, near: NearCopies) -> bool:
        """Tell `near` of all changes from now on; return whether this store can."""
        return False

    @abstractmethod
    def ended(self) -> Notifier:
        """Return the notifier of computations that have ended, in any process."""
