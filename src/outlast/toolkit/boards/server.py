"""Boards and unique counts on a Redis or Valkey server: one key a period, at the time of the server."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from outlast.clients.redis.scripts import load_script
from outlast.core.errors import StoreUnavailable
from outlast.toolkit.boards.place import BoardPlace
from outlast.toolkit.boards.store import ONCE_FOR, BoardChange, Standings

if TYPE_CHECKING:
    from outlast.clients.redis.client import Argument
    from outlast.core.clock import Clock
    from outlast.toolkit.server import ToolkitServer

__all__ = ["ServerBoards"]

_TRIES: Final = 3
"""Calls for one step: the second knows the time of the server, and in the third a period may have ended since."""


class ServerBoards:
    """The boards of a server. The keys of a call must be named before it, so that it begins with a guess of the period:

    that of this process' clock. A script that finds another time returns that alone.
    """

    def __init__(self, server: ToolkitServer, clock: Clock) -> None:
        self._server = server
        self._clock = clock

    async def _run(
        self, place: BoardPlace, ago: int, script: str, *args: Argument, once: str = "", again: bool = True
    ) -> list[Any]:
        """Return the answer of a script. again: it may be done twice."""
        now, key = self._clock.time(), self._server.key
        marks: Sequence[str] = (key(place.kind, place.name, "once", place.period.text, once),) if once else ()
        text = load_script(__package__, "window", script)
        for _ in range(_TRIES):
            window = place.window(now, ago)
            found: Any = await self._server.run(
                text,
                (key(place.kind, place.name, window.text), *marks),
                (window.start, window.ends, window.expires, *args),
                again=again,
            )
            if not isinstance(found, int):
                return list(found)
            now = found
        raise StoreUnavailable(f"{self._server.shown}: the clock of the server moves from period to period: see to it")

    async def add(self, place: BoardPlace, member: bytes, points: int, once: str) -> BoardChange:
        """See `BoardStore`."""
        args = (member, points, place.most, ONCE_FOR)
        return _change(await self._run(place, 0, "add", *args, once=once, again=bool(once)))

    async def put(self, place: BoardPlace, member: bytes, score: int) -> BoardChange:
        """See `BoardStore`."""
        return _change(await self._run(place, 0, "put", member, score, place.most, again=False))

    async def remove(self, place: BoardPlace, member: bytes) -> bool:
        """See `BoardStore`."""
        return bool((await self._run(place, 0, "remove", member, again=False))[0])

    async def top(self, place: BoardPlace, ago: int, most: int) -> Standings:
        """See `BoardStore`."""
        return _standings(await self._run(place, ago, "read", "top", "", most))

    async def around(self, place: BoardPlace, ago: int, member: bytes, most: int) -> Standings:
        """See `BoardStore`."""
        return _standings(await self._run(place, ago, "read", "around", member, most))

    async def rank(self, place: BoardPlace, ago: int, member: bytes) -> int:
        """See `BoardStore`."""
        return int((await self._run(place, ago, "read", "rank", member, 0))[0])

    async def score(self, place: BoardPlace, ago: int, member: bytes) -> int | None:
        """See `BoardStore`."""
        score = (await self._run(place, ago, "read", "score", member, 0))[0]
        return None if score is None else int(score)

    async def size(self, place: BoardPlace, ago: int) -> int:
        """See `BoardStore`."""
        script = "unique" if place.kind == "unique" else "read"
        return int((await self._run(place, ago, script, "size", "", 0))[0])

    async def note(self, place: BoardPlace, member: bytes) -> BoardChange:
        """See `BoardStore`."""
        found = (await self._run(place, 0, "unique", "note", member, place.most, again=False))[0]
        return BoardChange("full") if found < 0 else BoardChange("done", new=bool(found))

    async def has(self, place: BoardPlace, ago: int, member: bytes) -> bool:
        """See `BoardStore`."""
        return bool((await self._run(place, ago, "unique", "has", member, 0))[0])


def _change(found: list[Any]) -> BoardChange:
    state, score, new = found
    return BoardChange(state.decode(), int(score), bool(new))


def _standings(found: list[Any]) -> Standings:
    members = [(found[at], int(found[at + 1])) for at in range(1, len(found), 2)]
    return Standings(found[0] if members else 1, members)
