"""Claims whose answer does not arrive: what they handed out is taken back, or its holder would renew it for ever."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final
from uuid import uuid4

from outlast.brokers.redis import delivery
from outlast.brokers.redis.keyspace import Keyspace
from outlast.core.errors import StoreError, StoreUnavailable, StoreUncertain

__all__ = ["ClaimRecovery"]

_log = logging.getLogger("outlast.redis")

AGAIN: Final = 0.25
"""Seconds between two attempts to take back."""


class ClaimRecovery:
    """Numbers the claims of one store object. is_open: whether the store still is; what it did not take back by its end
    is given back by the lease, or by whoever forfeits for its holder.
    """

    def __init__(self, place: Keyspace, is_open: Callable[[], bool]) -> None:
        self._place = place
        self._is_open = is_open
        self._idle: list[delivery.Stream] = []
        self._undoing: set[asyncio.Task[None]] = set()

    async def claim(self, asked: delivery.Asked) -> delivery.Given:
        """Claim. A call that is cancelled, or whose connection ends before the answer, has handed out nothing."""
        stream = self._idle.pop() if self._idle else delivery.Stream(uuid4().hex[:16])
        stream.number += 1
        claiming = asyncio.ensure_future(delivery.claim(self._place, asked, stream))
        try:
            given = await asyncio.shield(claiming)
        except (asyncio.CancelledError, StoreUncertain):
            undoing = asyncio.create_task(self._undo(claiming, asked.holder, stream), name="outlast-redis-undo")
            self._undoing.add(undoing)
            undoing.add_done_callback(self._undoing.discard)
            raise
        except BaseException:
            self._idle.append(stream)
            raise
        self._idle.append(stream)
        return given

    async def close(self) -> None:
        """Return when what can be taken back has been."""
        if self._undoing:
            await asyncio.gather(*self._undoing, return_exceptions=True)

    async def _undo(self, claiming: asyncio.Future[delivery.Given], holder: str, stream: delivery.Stream) -> None:
        try:
            given = await claiming
        except StoreUncertain:
            pass
        except StoreError:
            self._idle.append(stream)
            return
        else:
            if not given.deliveries:
                self._idle.append(stream)
                return
        while True:
            try:
                await delivery.undo(self._place, holder, stream)
            except StoreError as error:
                if not isinstance(error, StoreUnavailable):
                    _log.warning("what a claim of %s handed out is not taken back yet: %s", holder, error)
                if not self._is_open():
                    return
                await asyncio.sleep(AGAIN)
            else:
                self._idle.append(stream)
                return
