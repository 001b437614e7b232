"""Interleaved writes of two requests to one session, judged by what each was told: none that was saved may be lost.

Both requests write fields of their own, count, append to one list, add and take flash values; one of them replaces the
id at times. A request that is answered with SessionEnded begins again with the id that the other one was given.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random

from outlast.core.toolkit_errors import SessionConflict, SessionEnded
from outlast.toolkit.sessions.session import Session
from outlast.toolkit.sessions.sessions import Sessions

__all__ = ["SessionVerdict", "interleave_writes"]

AT_ONCE = 20
"""Sessions that are written together, each by two requests at a time."""
ROUND = 50
"""Writes of each request to one session."""


@dataclass
class SessionVerdict:
    """What was seen. writes: that were saved; lost: of these, what is not there; twice: flash values that two got."""

    writes: int = 0
    ended: int = 0
    conflicts: int = 0
    rotations: int = 0
    lost: list[str] = field(default_factory=list)
    twice: list[str] = field(default_factory=list)


class _Subject:
    """One session, and what its requests were told."""

    def __init__(self, verdict: SessionVerdict, rng: Random) -> None:
        self.verdict = verdict
        self.rng = rng
        self.id = ""
        self.count = 0
        self.items: list[str] = []
        self.own: dict[str, int] = {}
        self.flashed: set[str] = set()
        self.taken: Counter[str] = Counter()

    async def write(self, session: Session, who: str, number: int) -> None:
        """Do one write, and note it when it was saved."""
        match self.rng.choice(["own", "own", "count", "count", "items", "flash", "take", "guess", "rotate"]):
            case "own":
                name = f"{who}{number % 3}"
                session[name] = number
                await session.save()
                self.own[name] = number
            case "count":
                await session.update("count", lambda count: count + 1, default=0)
                self.count += 1
            case "items":
                await session.update("items", lambda items: [*items, f"{who}{number}"], default=[])
                self.items.append(f"{who}{number}")
            case "flash":
                session.flash(f"{who}{number}")
                await session.save()
                self.flashed.add(f"{who}{number}")
            case "take":
                self.taken.update(await session.take_flashes())
                return
            case "guess":  # read, let the other go on, write: a conflict is told, and nothing is written
                count = session.get("count", 0)
                await asyncio.sleep(0)
                session["count"] = count + 1
                await session.save()
                self.count += 1
            case _ if who == "a":
                session.rotate()
                await session.save()
                assert session.issued
                self.id = session.issued
                self.verdict.rotations += 1
                return
            case _:
                return
        self.verdict.writes += 1

    async def requests(self, sessions: Sessions, who: str) -> None:
        session, number = await sessions.open(self.id), 0
        while number < ROUND:
            if self.rng.random() < 0.2:
                session = await sessions.open(self.id)
            for _ in range(self.rng.randrange(4)):
                await asyncio.sleep(0)
            try:
                await self.write(session, who, number)
            except SessionConflict:
                self.verdict.conflicts += 1
            except SessionEnded:
                self.verdict.ended += 1
                session = await sessions.open(self.id)
            number += 1

    async def judge(self, sessions: Sessions) -> None:
        session, lost = await sessions.open(self.id), self.verdict.lost
        self.taken.update(await session.take_flashes())
        if session.get("count", 0) != self.count:
            lost.append(f"count is {session.get('count')}, not {self.count}")
        if sorted(session.get("items", [])) != sorted(self.items):
            lost.append(f"items are {session.get('items')}, not {self.items}")
        own = self.own.items()
        lost += [f"{name} is {session.get(name)}, not {value}" for name, value in own if session.get(name) != value]
        lost += [f"flash {each}" for each in self.flashed - set(self.taken)]
        self.verdict.twice += [each for each, times in self.taken.items() if times > 1]


async def interleave_writes(both: Sequence[Sessions], writes: int, seed: int) -> SessionVerdict:
    """Let two requests at a time write, until `writes` were saved; return the verdict. both: of two processes."""
    verdict, rng = SessionVerdict(), Random(seed)
    while verdict.writes < writes:
        subjects = [_Subject(verdict, rng) for _ in range(AT_ONCE)]
        for subject in subjects:
            session = await both[0].open(None)
            session["begun"] = True
            await session.save()
            assert session.issued
            subject.id = session.issued
        await asyncio.gather(
            *(each.requests(sessions, who) for each in subjects for who, sessions in zip("ab", both, strict=True))
        )
        await asyncio.gather(*(each.judge(both[1]) for each in subjects))
    return verdict
