"""Boards and unique counts in the memory of one process."""

from __future__ import annotations

from bisect import bisect_left, insort
from typing import TYPE_CHECKING, Final

from outlast.core.clock import Clock
from outlast.toolkit.boards.place import BoardPlace
from outlast.toolkit.boards.store import MOST_SCORE, ONCE_FOR, BoardChange, Standings

if TYPE_CHECKING:
    from outlast.toolkit.memory import ToolkitMemory

__all__ = ["MemoryBoards"]


class _Members:
    """One period of a board or of a unique count. order: of a board, the members in their order."""

    __slots__ = ("expires", "order", "scores")

    def __init__(self, expires: int) -> None:
        self.expires = expires
        self.scores: dict[bytes, int] = {}
        self.order: list[tuple[int, bytes]] = []

    def put(self, member: bytes, score: int) -> None:
        """Set the score of a member."""
        self.drop(member)
        self.scores[member] = score
        insort(self.order, (-score, member))

    def drop(self, member: bytes) -> bool:
        """Remove a member; return whether it was there."""
        score = self.scores.pop(member, None)
        if score is None:
            return False
        del self.order[bisect_left(self.order, (-score, member))]
        return True

    def at(self, member: bytes) -> int | None:
        """Return the place of a member in the order, from 0."""
        score = self.scores.get(member)
        return None if score is None else bisect_left(self.order, (-score, member))

    def part(self, first: int, last: int) -> Standings:
        """Return the members at these places, the last one excluded."""
        return Standings(first + 1, [(member, -down) for down, member in self.order[first:last]])


_NONE: Final = _Members(0)


class MemoryBoards:
    """The boards of one process, for all threads."""

    def __init__(self, memory: ToolkitMemory) -> None:
        self._clock: Clock = memory.clock
        self._lock = memory.lock
        self._members: dict[tuple[str, str, str], _Members] = {}
        self._marks: dict[tuple[str, str, str], float] = {}
        """The ends of the marks of `once`, in the order in which they were made."""

    @staticmethod
    def of(memory: ToolkitMemory) -> MemoryBoards:
        """Return the boards in the memory of a toolkit."""
        return memory.section("boards", lambda: MemoryBoards(memory))

    def _read(self, place: BoardPlace, ago: int) -> _Members:
        return self._members.get((place.kind, place.name, place.window(self._clock.time(), ago).text), _NONE)

    def _write(self, place: BoardPlace) -> _Members:
        """Return the members of the present period; drop the periods that have expired when one begins."""
        now = self._clock.time()
        window = place.window(now)
        key = (place.kind, place.name, window.text)
        found = self._members.get(key)
        if found is None:
            for old in [each for each, held in self._members.items() if 0 < held.expires <= now]:
                del self._members[old]
            found = self._members[key] = _Members(window.expires)
        found.expires = window.expires
        return found

    async def add(self, place: BoardPlace, member: bytes, points: int, once: str) -> BoardChange:
        """See `BoardStore`."""
        with self._lock:
            held = self._write(place)
            old = held.scores.get(member)
            mark = (place.period.text, place.name, once)
            if once and self._is_marked(mark):
                return BoardChange("done", old or 0)
            score = (old or 0) + points
            if abs(score) > MOST_SCORE:
                return BoardChange("beyond", old or 0)
            if old is None and len(held.scores) >= place.most:
                return BoardChange("full")
            held.put(member, score)
            if once:
                self._marks[mark] = self._clock.time() + ONCE_FOR
            return BoardChange("done", score, new=old is None)

    def _is_marked(self, mark: tuple[str, str, str]) -> bool:
        now = self._clock.time()
        while self._marks and self._marks[first := next(iter(self._marks))] <= now:
            del self._marks[first]
        if self._marks.get(mark, now) > now:
            return True
        self._marks.pop(mark, None)  # it ended before an older one: the clock was set back
        return False

    async def put(self, place: BoardPlace, member: bytes, score: int) -> BoardChange:
        """See `BoardStore`."""
        with self._lock:
            held = self._write(place)
            new = member not in held.scores
            if new and len(held.scores) >= place.most:
                return BoardChange("full")
            held.put(member, score)
            return BoardChange("done", score, new=new)

    async def remove(self, place: BoardPlace, member: bytes) -> bool:
        """See `BoardStore`."""
        with self._lock:
            return self._read(place, 0).drop(member)

    async def top(self, place: BoardPlace, ago: int, most: int) -> Standings:
        """See `BoardStore`."""
        with self._lock:
            return self._read(place, ago).part(0, most)

    async def around(self, place: BoardPlace, ago: int, member: bytes, most: int) -> Standings:
        """See `BoardStore`."""
        with self._lock:
            held = self._read(place, ago)
            at = held.at(member)
            return Standings(1, []) if at is None else held.part(max(0, at - most), at + most + 1)

    async def rank(self, place: BoardPlace, ago: int, member: bytes) -> int:
        """See `BoardStore`."""
        with self._lock:
            at = self._read(place, ago).at(member)
            return 0 if at is None else at + 1

    async def score(self, place: BoardPlace, ago: int, member: bytes) -> int | None:
        """See `BoardStore`."""
        with self._lock:
            return self._read(place, ago).scores.get(member)

    async def size(self, place: BoardPlace, ago: int) -> int:
        """See `BoardStore`."""
        with self._lock:
            return len(self._read(place, ago).scores)

    async def note(self, place: BoardPlace, member: bytes) -> BoardChange:
        """See `BoardStore`."""
        with self._lock:
            held = self._write(place)
            if member in held.scores:
                return BoardChange("done")
            if len(held.scores) >= place.most:
                return BoardChange("full")
            held.scores[member] = 0
            return BoardChange("done", new=True)

    async def has(self, place: BoardPlace, ago: int, member: bytes) -> bool:
        """See `BoardStore`."""
        with self._lock:
            return member in self._read(place, ago).scores
