"""Renews the lease of a worker that has no supervisor, from inside its process."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Sequence

from outlast.core.errors import StoreError
from outlast.core.message import Holder
from outlast.core.settlement import Lost
from outlast.core.store.broker import Broker

__all__ = ["ThreadRenewal", "renew"]

_logger = logging.getLogger("outlast.worker")

Losses = Callable[[Sequence[Lost]], None]


async def renew(broker: Callable[[], Broker], holder: Holder, *, lease: float, lost: Losses) -> None:
    """Extend the lease three times within its length, for ever, also after an error; call `lost` with lost runs."""
    failing = False
    while True:
        try:
            lost(await broker().extend(holder, lease=lease))
            failing = False
        except StoreError as error:
            if not failing:  # once per outage
                _logger.warning("the lease of %s could not be renewed: %s", holder.label or holder.id, error)
            failing = True
        except Exception:  # of whatever kind: the jobs that run here would run elsewhere too
            _logger.exception("the lease of %s could not be renewed", holder.label or holder.id)
        await asyncio.sleep(lease / 3)


class ThreadRenewal:
    """Renews in a thread with its own event loop and connection, so that a handler that blocks the loop loses no job.

    It does not help against a handler that holds the GIL: that needs a supervisor, which is another process.
    """

    def __init__(self, connect: Callable[[], Broker], holder: Holder, *, lease: float, lost: Losses) -> None:
        self._connect = connect
        self._holder = holder
        self._lease = lease
        self._lost = lost
        self._owner_loop = asyncio.get_running_loop()
        self._ended = self._owner_loop.create_future()
        self._task: asyncio.Task[None] | None = None
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="outlast-renewal", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    async def stop(self) -> None:
        """Stop renewing; return when the connection is closed."""
        self._stopped.set()
        if self._task is not None:
            self._task.get_loop().call_soon_threadsafe(self._task.cancel)
        await self._ended

    def _run(self) -> None:
        try:
            asyncio.run(self._work())
        finally:
            self._owner_loop.call_soon_threadsafe(self._end)

    def _end(self) -> None:
        if not self._ended.done():
            self._ended.set_result(None)

    async def _work(self) -> None:
        self._task = asyncio.current_task()
        if self._stopped.is_set():
            return
        broker = self._connect()
        try:
            await self._open(broker)
            await renew(lambda: broker, self._holder, lease=self._lease, lost=self._report_lost)
        except asyncio.CancelledError:
            return
        finally:
            await broker.close()

    async def _open(self, broker: Broker) -> None:
        logged = ""
        while True:
            try:
                await broker.open()
            except StoreError as error:
                if str(error) != logged:  # once per reason: an outage may last
                    logged = str(error)
                    _logger.warning("the lease of %s cannot be renewed yet: %s", self._holder.id, error)
                await asyncio.sleep(self._lease / 10)
            else:
                return

    def _report_lost(self, losses: Sequence[Lost]) -> None:
        if losses:
            self._owner_loop.call_soon_threadsafe(self._lost, losses)
