"""Keeps one connection to a cluster: made on first use, made again whenever it ends, to the servers in turn."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Iterator
from itertools import count
from random import Random
from typing import Final

from outlast.aio.callbacks import tell
from outlast.aio.tasks import cancel
from outlast.clients.amqp.address import AmqpAddress
from outlast.clients.amqp.wire import AmqpWire
from outlast.clients.metrics import RECONNECTS
from outlast.core.errors import StoreError, StoreUnavailable

__all__ = ["AmqpLink", "pauses"]

_RECONNECTS: Final = RECONNECTS.of("amqp")
SHORTEST: Final = 0.1
LONGEST: Final = 2.0
"""Seconds of the first and of the longest pause between two attempts."""


def pauses(rng: Random) -> Iterator[float]:
    """Yield the pauses between attempts, for ever: each twice the last up to the longest, less up to half at random."""
    for attempt in count():
        yield min(LONGEST, SHORTEST * 2 ** min(attempt, 16)) * (1 - rng.random() / 2)


class AmqpLink:
    """One connection at a time, for one purpose, of one event loop.

    problem: why there is no connection at present, None while there is one and before the first attempt. on_change:
    called with it whenever it changes. on_blocked: called with the server's reason when it stops to take messages (an
    alarm), with None when it takes them again.
    """

    def __init__(
        self,
        address: AmqpAddress,
        purpose: str,
        *,
        rng: Random | None = None,
        on_change: Callable[[StoreError | None], None] | None = None,
        on_blocked: Callable[[str | None], None] | None = None,
    ) -> None:
        self.address: Final = address
        self.problem: StoreError | None = None
        self.made = 0
        """Connections that were made, ever."""
        self._purpose = purpose
        self._rng = rng or Random()  # noqa: S311 - spreads attempts, guards nothing
        self._on_change = on_change
        self._on_blocked = on_blocked
        self._tls: ssl.SSLContext | None = None
        self._wire: AmqpWire | None = None
        self._waiting: set[asyncio.Future[AmqpWire]] = set()
        self._unblocked = asyncio.Event()
        self._unblocked.set()
        self._work: asyncio.Task[None] | None = None
        self._closed = False

    @property
    def wire(self) -> AmqpWire | None:
        """The connection, when there is one."""
        return self._wire if self._wire is not None and self._wire.alive else None

    @property
    def blocked(self) -> str | None:
        """Why the server takes no messages on this connection, else None."""
        return None if self._wire is None else self._wire.blocked

    async def get(self) -> AmqpWire:
        """Return the connection; wait for it while an attempt lasts.

        Raise the error of the attempt when no server could be reached: StoreUnavailable, or AmqpRefused for a login or
        a virtual host. The attempts go on until `close`, and each call waits for the end of the next one.
        """
        wire = self.wire
        if wire is not None:
            return wire
        if self._closed:
            raise StoreUnavailable(f"{self.address.shown} was closed")
        if self._work is None:
            self._tls = self.address.tls()
            self._work = asyncio.create_task(self._keep(), name=f"outlast-amqp-{self._purpose}")
        waiter: asyncio.Future[AmqpWire] = asyncio.get_running_loop().create_future()
        self._waiting.add(waiter)
        try:
            return await waiter
        finally:
            self._waiting.discard(waiter)

    async def unblocked(self) -> None:
        """Wait until the server takes messages on this connection, or the connection has ended."""
        await self._unblocked.wait()

    async def close(self) -> None:
        """End the connection, and all attempts; calls that wait for it raise StoreUnavailable."""
        self._closed = True
        if self._work is not None:
            await cancel(self._work)
        if self._wire is not None:
            await self._wire.close()
        self._answer(StoreUnavailable(f"{self.address.shown} was closed"))

    async def _keep(self) -> None:
        """Make the connection again, for ever."""
        pause = pauses(self._rng)
        while True:
            wire = await self._attempt()
            if wire is None:
                await asyncio.sleep(next(pause))
                continue
            began = wire.loop.time()
            self._note(await asyncio.shield(wire.ended))
            self._wire = None
            if asyncio.get_running_loop().time() - began > LONGEST:
                pause = pauses(self._rng)
            del wire  # it would be kept during the pause
            # The first attempt comes at once, but not those of all clients of a server in the same moment.
            await asyncio.sleep(next(pause) * self._rng.random())

    async def _attempt(self) -> AmqpWire | None:
        """Try each server once, from the one behind the last; answer all that wait."""
        hosts = self.address.hosts
        error: StoreError = StoreUnavailable(f"{self.address.shown} has no server")
        first = self.made
        for turn in range(len(hosts)):
            host = hosts[(first + turn) % len(hosts)]
            try:
                wire = await AmqpWire.connect(self.address, host, self._purpose, self._tls)
            except StoreError as refused:
                error = refused
                continue
            if self.made:
                _RECONNECTS.add()
            self.made += 1
            self._wire = wire
            wire.on_blocked = self._block
            self._note(None)
            self._answer(wire)
            return wire
        self._note(error)
        self._answer(error)
        return None

    def _answer(self, answer: AmqpWire | StoreError) -> None:
        for waiter in list(self._waiting):
            if waiter.done():
                continue
            if isinstance(answer, StoreError):
                waiter.set_exception(answer)
            else:
                waiter.set_result(answer)

    def _note(self, problem: StoreError | None) -> None:
        changed = str(problem) != str(self.problem)
        self.problem = None if problem is None else problem.with_traceback(None)  # else it keeps a dead connection
        if changed:
            tell(self._on_change, problem)

    def _block(self, reason: str | None) -> None:
        if reason is None:
            self._unblocked.set()
        else:
            self._unblocked.clear()
        tell(self._on_blocked, reason)
