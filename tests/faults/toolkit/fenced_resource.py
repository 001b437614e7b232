"""What a lock protects: a value behind a fence, served to processes over a socket, and the judgement of its journal."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

__all__ = ["Entry", "FencedResource", "Judgement", "judged"]


class Entry(NamedTuple):
    """One call. op: "take" begins the use of a token, "write" stores a value. told: the value that the writer read."""

    op: str
    token: int
    told: int
    accepted: bool
    value: int
    """The value before the call."""


class FencedResource:
    """A number, and the largest token that used it. A call with a smaller token is refused."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.journal: list[Entry] = []
        self.taken = 0
        self.on_take: Callable[[int], None] | None = None
        """Called once with the process of the next take, before it is answered: its lock is held then."""
        self._fence = self._value = 0
        self._server: asyncio.Server | None = None
        self._calls: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> FencedResource:
        self._server = await asyncio.start_unix_server(self._serve, str(self.path))
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for call in self._calls:
            call.cancel()
        await asyncio.gather(*self._calls, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        call = asyncio.current_task()
        assert call is not None
        self._calls.add(call)
        try:
            with suppress(OSError):  # its process was killed
                while line := await reader.readline():
                    op, token, told, pid = line.split()
                    writer.write(b"%d\n" % self._called(op.decode(), int(token), int(told), int(pid)))
        finally:
            self._calls.discard(call)
            writer.close()

    def _called(self, op: str, token: int, told: int, pid: int) -> int:
        """Return the value before the call, -1 for one that is refused."""
        accepted = token >= self._fence
        self.journal.append(Entry(op, token, told, accepted, self._value))
        if not accepted:
            return -1
        self._fence = token
        before = self._value
        if op == "take":
            self.taken += 1
            on_take, self.on_take = self.on_take, None
            if on_take is not None:
                on_take(pid)
        else:
            self._value = told + 1
        return before


@dataclass(frozen=True)
class Judgement:
    """taken: acquisitions that used the resource. repeated: tokens that were given twice. backwards: takes that were
    accepted with a token that is not larger than all before. stale: writes that were accepted after a larger token was
    there. lost: updates that another overwrote. refused: calls with an old token, as they should be. overtaken: takes
    before the last user had written: only a fault may end its use.
    """

    taken: int
    repeated: int
    backwards: int
    stale: int
    lost: int
    refused: int
    overtaken: int

    @property
    def sound(self) -> bool:
        """Whether no promise was broken."""
        return self.repeated == self.backwards == self.stale == self.lost == 0


def judged(journal: list[Entry]) -> Judgement:
    """Return what a journal says, by its own count of the largest token."""
    largest = taken = repeated = backwards = stale = lost = refused = overtaken = user = 0
    seen: set[int] = set()
    for op, token, told, accepted, value in journal:
        if op == "take":
            repeated += token in seen
            seen.add(token)
            taken += accepted
            backwards += accepted and token <= largest
            overtaken += accepted and user != 0
            user = token if accepted else user
        elif accepted:
            stale += token < largest
            lost += told != value
            user = 0 if token == user else user
        refused += not accepted
        if accepted:
            largest = max(largest, token)
    return Judgement(taken, repeated, backwards, stale, lost, refused, overtaken)
