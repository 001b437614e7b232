"""The pieces of the toolkit while its store is away: the rows of the table in docs/toolkit.md, and a look at each.

A new piece is one more `Row` in ROWS; the page has the same line.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from contextlib import suppress
from itertools import count
from typing import ClassVar, Final

from starlette.types import ASGIApp, Receive, Scope, Send

from outlast import LockLease, LockLost, LockTimeout, Outlast
from outlast.core.toolkit_errors import ToolkitAway
from outlast.fastapi.idempotency.middleware import IdempotencyMiddleware
from tests.support.asgi import ask
from tests.support.polling import until
from tests.support.sessions_away import app_of, ask_with

__all__ = ["ROWS", "WHOLE", "Row", "page_lines"]

WHOLE: Final = "whole"
LEASE: Final = 2.0
LOOKS: Final = 200


class Row(ABC):
    """One piece of an app, used before an outage, during it, and after it.

    piece, side, what, page: the columns of its line in docs/toolkit.md. Rows of one line give it once. holds: it looks
    at what a piece held when the outage began, so that it says nothing about a store that was away from the start.
    """

    piece: ClassVar[str]
    side: ClassVar[str]
    what: ClassVar[str]
    page: ClassVar[str]
    holds: ClassVar[bool] = False

    def __init__(self, shop: Outlast) -> None:
        self.shop = shop
        self.numbers = count()

    @property
    def name(self) -> str:
        """The name of the row in the printed table."""
        return type(self).__name__

    @abstractmethod
    async def look(self) -> str:
        """Use the piece once; return WHOLE, or the side that it took."""

    async def begin(self) -> None:
        """Use it while the store is there."""
        await until(self.is_whole, f"{self.name} is used")

    async def away(self) -> str:
        """Return the side that it takes now that the store is away."""
        return await self.look()

    async def is_whole(self) -> bool:
        """Return whether it is whole."""
        return await self.look() == WHOLE

    async def end(self) -> None:
        """End what it has running."""
        await self.shop.close()


class Cache(Row):
    """Reading through the cache."""

    piece = "cache"
    side = "open"
    what = "values come from the source, a bounded number at once, and are not kept"
    page = "cache"

    async def look(self) -> str:
        key = f"read:{next(self.numbers)}"

        async def source() -> int:
            return 7

        assert await self.shop.cache.get_or_set(key, source, ttl=60) == 7
        return WHOLE if await self.shop.cache.get(key) == 7 else "open"


class Invalidation(Row):
    """Voiding a value of the cache."""

    piece = "cache: `delete`, `invalidate`"
    side = "raises"
    what = "`ToolkitAway`: an old value may remain, so call it again"
    page = "cache"

    async def begin(self) -> None:
        # Each look removes one: what removes nothing needs no room on a disk.
        await until(
            lambda: self.shop.cache.set_many({f"void:{n}": n for n in range(LOOKS)}, ttl=600), "values are kept"
        )

    async def look(self) -> str:
        try:
            await self.shop.cache.delete(f"void:{next(self.numbers)}")
            await self.shop.cache.invalidate("t")
        except ToolkitAway:
            return "raises"
        return WHOLE


class Lock(Row):
    """A lock that is to be taken."""

    piece = "lock, semaphore"
    side = "closed"
    what = "no block begins: it waits, for `wait` at most"
    page = "lock"

    async def look(self) -> str:
        block = self.shop.lock(f"stock:{next(self.numbers)}", wait=0)
        try:
            async with block:
                return WHOLE
        except (ToolkitAway, LockTimeout):
            return "closed"


class Semaphore(Lock):
    """A semaphore that is to be taken."""

    async def look(self) -> str:
        try:
            async with self.shop.semaphore(f"reports:{next(self.numbers)}", 2, wait=0):
                return WHOLE
        except (ToolkitAway, LockTimeout):
            return "closed"


class HeldLock(Lock):
    """A lock that is held when the outage begins."""

    piece = "a lock that is held"
    what = "the block is cancelled before its lease ends"
    holds = True

    async def begin(self) -> None:
        inside = asyncio.Event()

        async def block() -> str:
            try:
                async with self.shop.lock("held", lease=LEASE):
                    inside.set()
                    await asyncio.Event().wait()
            except LockLost:
                return "closed"
            return WHOLE

        self.task = asyncio.create_task(block())
        await inside.wait()

    async def away(self) -> str:
        return await self.task


class Leader(Row):
    """A leader whose work runs when the outage begins."""

    piece = "leader"
    side = "closed"
    what = "its work is cancelled before its lease ends, and starts again when the leadership is regained"
    page = "lock"
    holds = True

    async def begin(self) -> None:
        self.ended, self.running = 0, False
        leader = self.shop.leader("feed", lease=LEASE)
        self.task = asyncio.create_task(leader.run(self.work))
        await until(self.is_whole, "it leads")

    async def work(self, lease: LockLease) -> None:
        self.running = True
        try:
            await asyncio.Event().wait()
        finally:
            self.running, self.ended = False, self.ended + 1

    async def look(self) -> str:
        return WHOLE if self.running else "closed"

    async def away(self) -> str:
        await until(lambda: self.ended, "its work ends")
        return "closed"

    async def end(self) -> None:
        self.task.cancel()
        with suppress(asyncio.CancelledError):
            await self.task
        await super().end()


class Limiter(Row):
    """A limiter."""

    piece = "rate limiter"
    side = "alone"
    what = "each process decides alone over its share of the limit, and the answer says so"
    page = "limiter"

    def __init__(self, shop: Outlast) -> None:
        super().__init__(shop)
        self.limiter = shop.limiter("1000/day", name="api")

    async def look(self) -> str:
        decision = await self.limiter.take(f"k{next(self.numbers)}")
        assert decision.allowed
        return "alone" if decision.approximate else WHOLE


class ClosedLimiter(Row):
    """A limiter of logins."""

    piece = "rate limiter with `closed=True`"
    side = "closed"
    what = "`ToolkitAway`, over HTTP 503"
    page = "limiter"

    def __init__(self, shop: Outlast) -> None:
        super().__init__(shop)
        self.limiter = shop.limiter("1000/day", name="login", closed=True)

    async def look(self) -> str:
        try:
            decision = await self.limiter.take(f"k{next(self.numbers)}")
        except ToolkitAway:
            return "closed"
        assert not decision.approximate
        return WHOLE


class IdempotentRequest(Row):
    """A request with an Idempotency-Key."""

    piece = "idempotency keys"
    side = "closed"
    what = "the request does not run, and gets 503"
    page = "idempotency"

    def __init__(self, shop: Outlast) -> None:
        super().__init__(shop)
        self.runs = 0
        self.app: ASGIApp = IdempotencyMiddleware(self.order, shop)

    async def order(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.runs += 1
        await send({"type": "http.response.start", "status": 201, "headers": []})
        await send({"type": "http.response.body", "body": b"1"})

    async def look(self) -> str:
        before = self.runs
        reply = await ask(self.app, "/orders", f'"key-{next(self.numbers)}"')
        if reply.status == 503 and self.runs == before:
            return "closed"
        assert (reply.status, self.runs) == (201, before + 1)
        return WHOLE if reply.headers.get("idempotent-stored") != "false" else "closed"


class SessionRead(Row):
    """A request that reads the session of its cookie."""

    piece = "sessions that are read"
    side = "anonymous"
    what = "the request goes on as of a visitor who is not logged in; no cookie is removed"
    page = "sessions"

    def __init__(self, shop: Outlast) -> None:
        super().__init__(shop)
        self.app = app_of(shop.sessions())
        self.id: str | None = "A" * 43
        """Of the client: from the start one that may be of a session."""

    async def begin(self) -> None:
        async def logged_in() -> bool:
            reply = await ask_with(self.app, "POST", "/login")
            self.id = reply.headers.get("set-cookie", "").partition(";")[0].partition("=")[2]
            return reply.status == 200

        await until(logged_in, "a user has logged in")
        await super().begin()

    async def look(self) -> str:
        reply = await ask_with(self.app, "GET", "/read", self.id)
        assert reply.status == 200
        if b'"away":false' in reply.body:
            return WHOLE
        assert "set-cookie" not in reply.headers
        return "anonymous" if b'"user":null' in reply.body else reply.body.decode()


class SessionWrite(SessionRead):
    """A request that writes a field of the session of its cookie."""

    piece = "sessions that are written"
    side = "closed"
    what = "the request gets 503, and stores nothing; a logout did not happen"

    async def look(self) -> str:
        reply = await ask_with(self.app, "POST", "/write", self.id)
        if reply.status == 200:
            return WHOLE
        assert "set-cookie" not in reply.headers
        return "closed" if (reply.status, b"toolkit-unavailable" in reply.body) == (503, True) else str(reply)


class BoardWrite(Row):
    """A leaderboard that is changed."""

    piece = "leaderboards, unique counts"
    side = "raises"
    what = "`ToolkitAway`: `add` with `once=` can be repeated"
    page = "boards"
    empty = False

    def __init__(self, shop: Outlast) -> None:
        super().__init__(shop)
        self.board = shop.board(f"best:{self.name}", away="empty" if self.empty else "raise")
        self.visitors = shop.unique(f"visitors:{self.name}", away="empty" if self.empty else "raise")

    async def look(self) -> str:
        try:
            await self.board.add("product:7", once=f"order:{next(self.numbers)}")
        except ToolkitAway:
            return "raises"
        return WHOLE


class UniqueWrite(BoardWrite):
    """A unique count that is changed."""

    async def look(self) -> str:
        try:
            await self.visitors.add(f"user:{next(self.numbers)}")
        except ToolkitAway:
            return "raises"
        return WHOLE


class BoardRead(BoardWrite):
    """A leaderboard and a unique count that are read."""

    async def look(self) -> str:
        # What was lost with the store is there again, once it takes it: an empty answer is then one of its absence.
        with suppress(ToolkitAway):
            await self.board.add("product:7")
            await self.visitors.add("ann")
        try:
            found = len(await self.board.top()), await self.visitors.count()
        except ToolkitAway:
            return "raises"
        return WHOLE if found == (1, 1) else "empty"


class EmptyBoard(BoardRead):
    """The same, declared to be empty while the store is away."""

    piece = 'reads of those with `away="empty"`'
    side = "empty"
    what = "what an empty one has; writes raise `ToolkitAway`"
    empty = True


ROWS: Final[tuple[type[Row], ...]] = (
    Cache,
    Invalidation,
    Lock,
    Semaphore,
    HeldLock,
    Leader,
    Limiter,
    ClosedLimiter,
    IdempotentRequest,
    SessionRead,
    SessionWrite,
    BoardWrite,
    UniqueWrite,
    BoardRead,
    EmptyBoard,
)


def page_lines() -> list[str]:
    """Return the lines of the table in docs/toolkit.md, in order."""
    made = (f"| {each.piece} | {each.side} | {each.what} | [{each.page}](toolkit/{each.page}.md) |" for each in ROWS)
    return list(dict.fromkeys(made))
