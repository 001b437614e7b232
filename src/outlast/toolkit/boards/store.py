"""What boards and unique counts ask of a store."""

from __future__ import annotations

from typing import Final, Literal, Protocol

from msgspec import Struct

from outlast.toolkit.boards.place import BoardPlace

__all__ = ["MOST_SCORE", "ONCE_FOR", "BoardChange", "BoardStore", "Standings"]

MOST_SCORE: Final = 2**53 - 1
"""The highest score, and the lowest one negated: the scores of a Redis server are doubles."""
ONCE_FOR: Final = 86400
"""Seconds for which an `add` with the same `once` is not done again."""


class BoardChange(Struct, frozen=True):
    """What came of a change. state: "beyond" of a score that would be beyond MOST_SCORE, "full" of a board.

    score: of the member now; of "beyond" that before. new: whether the member is new.
    """

    state: Literal["done", "beyond", "full"]
    score: int = 0
    new: bool = False


class Standings(Struct, frozen=True):
    """Members that follow each other, the best first. first: the rank of the first one, from 1."""

    first: int
    members: list[tuple[bytes, int]]


class BoardStore(Protocol):
    """The boards of a store. Every call is one step of it, by the store's time, and raises StoreError.

    Members are ordered by score, the highest first; those of one score by their bytes, the lowest first. ago: how many
    periods before the present one is read, at most `place.keep`.
    """

    async def add(self, place: BoardPlace, member: bytes, points: int, once: str) -> BoardChange:
        """Add points. once: "", or safe text: in ONCE_FOR seconds after the add with it, another changes nothing.

        Boards of one name and other periods do not share it.
        """
        ...

    async def put(self, place: BoardPlace, member: bytes, score: int) -> BoardChange:
        """Set a score."""
        ...

    async def remove(self, place: BoardPlace, member: bytes) -> bool:
        """Remove a member; return whether it was there."""
        ...

    async def top(self, place: BoardPlace, ago: int, most: int) -> Standings:
        """Return the best members."""
        ...

    async def around(self, place: BoardPlace, ago: int, member: bytes, most: int) -> Standings:
        """Return a member and up to `most` before and after it; no members if it is not there."""
        ...

    async def rank(self, place: BoardPlace, ago: int, member: bytes) -> int:
        """Return the rank of a member from 1; 0 if it is not there."""
        ...

    async def score(self, place: BoardPlace, ago: int, member: bytes) -> int | None:
        """Return the score of a member."""
        ...

    async def size(self, place: BoardPlace, ago: int) -> int:
        """Return the number of members of a board or of a unique count."""
        ...

    async def note(self, place: BoardPlace, member: bytes) -> BoardChange:
        """Count a member of a unique count."""
        ...

    async def has(self, place: BoardPlace, ago: int, member: bytes) -> bool:
        """Return whether a unique count has a member."""
        ...
