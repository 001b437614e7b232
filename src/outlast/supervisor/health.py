"""The health of a service as its supervisor sees it: looks for frozen workers, and answers probes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from msgspec import structs

from outlast.aio.tasks import cancel
from outlast.core.clock import Clock
from outlast.core.errors import StoreError
from outlast.core.store.broker import QueueStats
from outlast.meters import meters
from outlast.observe.health.judge import PATIENCE, frozen_queues, suspects
from outlast.observe.health.local_socket import answering
from outlast.observe.health.pages import StatsOf, answer_of, health_pages, scale_page
from outlast.observe.health.views import HealthAnswer, ServiceView
from outlast.observe.server import Page, PageServer, checked_listen
from outlast.supervisor.process_metrics import show_states

__all__ = ["SupervisorHealth"]

_logger = logging.getLogger("outlast.supervisor")
_LOOK: Final = 1.0
_ASK: Final = 5.0
"""Seconds between two calls to the store while a worker is under suspicion; there are none otherwise."""


class SupervisorHealth:
    """Looks once a second at what the workers show, and answers over the local socket and over HTTP.

    The answers need no call to the store and no worker: a probe is answered while the store hangs and while jobs use
    all of the CPU. An error here is logged and ends no worker.

    seen: what is known of the workers. app: its name, "" while it is not known. patience: see judge.PATIENCE.
    """

    def __init__(
        self,
        seen: Callable[[], ServiceView],
        stats: StatsOf,
        app: Callable[[], str],
        clock: Clock,
        *,
        processes: int,
        patience: float = PATIENCE,
        listen: str | None = None,
        socket_path: str | None = None,
    ) -> None:
        """Serve at `listen` from the start, where it is given; raise ConfigurationError for one that is no address."""
        self.pages: Final[dict[str, Page]] = {**health_pages(self.view), "/autoscale": scale_page(stats, processes)}
        """By path; others may add to them, at any time."""
        self.server: Final = PageServer(self.pages)
        self.socket: str | None = None
        """The path of the local socket, while there is one."""
        self._seen = seen
        self._stats = stats
        self._app = app
        self._clock = clock
        self._patience = patience
        self._socket_path = socket_path
        self._frozen: dict[int, tuple[str, ...]] = {}
        self._asked_at = -_ASK
        self._address: asyncio.Future[tuple[str, int]] | None = None
        self._wanted = checked_listen(listen, "listen") if listen else None
        meters.before_reading(self.refresh)

    def listen(self, address: tuple[str, int]) -> None:
        """Serve the pages at this address, unless another one was given before. Call it on the event loop."""
        self._wanted = self._wanted or address
        if self._address is not None and not self._address.done():
            self._address.set_result(self._wanted)

    def view(self) -> ServiceView:
        """Return what is seen of the service now."""
        return structs.replace(self._seen(), frozen=dict(self._frozen))

    def answer(self, question: str) -> HealthAnswer | None:
        """Return the answer to a question of the local socket."""
        return answer_of(question, self.view())

    def refresh(self) -> None:
        """Set the gauge of the worker processes by state."""
        if app := self._app():
            show_states(app, self._seen().workers)

    async def run(self) -> None:
        """Look and answer until cancelled."""
        loop = asyncio.get_running_loop()
        self._address = loop.create_future()
        if self._wanted is not None:
            self._address.set_result(self._wanted)
        tasks = [loop.create_task(each) for each in (self._watch(), self._answer_locally(), self._serve())]
        try:
            for task in asyncio.as_completed(tasks):
                try:
                    await task
                except Exception:  # of whatever kind: the jobs go on
                    _logger.exception("a part of the health answers has failed")
            await loop.create_future()
        finally:
            await cancel(*tasks)

    async def _watch(self) -> None:
        while True:
            await self.step()
            await asyncio.sleep(_LOOK)

    async def step(self) -> None:
        """Look once. The store is asked only while a worker's claims do not come back."""
        found = suspects(self._seen().workers, self._patience)
        self._frozen = {pid: queues for pid, queues in self._frozen.items() if pid in {each.pid for each in found}}
        now = self._clock.monotonic()
        if not found or now - self._asked_at < _ASK:
            return
        self._asked_at = now
        stats = await self._counts(sorted({queue for each in found for queue in each.asked}))
        before = self._frozen
        again = suspects(self._seen().workers, self._patience)  # a claim may have come back meanwhile
        self._frozen = {each.pid: queues for each in again if (queues := frozen_queues(each, stats))}
        for pid in self._frozen.keys() - before.keys():
            _logger.error(
                "worker %d is frozen: it has free slots and due jobs in %s, and no claim of it has come back for "
                "%.0f s; the service reports itself unhealthy",
                pid,
                ", ".join(self._frozen[pid]),
                max(each.due for each in again if each.pid == pid),
            )

    async def _counts(self, queues: Sequence[str]) -> Mapping[str, QueueStats]:
        """Return the counts of the queues; none while the store does not answer: then a restart does not help."""
        try:
            return await self._stats(queues)
        except (StoreError, TimeoutError):
            return {}
        except Exception:  # of whatever kind: an answer that no one understands is none
            _logger.exception("the counts of the queues could not be read, no worker counts as frozen")
            return {}

    async def _answer_locally(self) -> None:
        async with answering(self.answer, self._socket_path) as path:
            self.socket = path
            await asyncio.get_running_loop().create_future()

    async def _serve(self) -> None:
        assert self._address is not None
        await self.server.run(*await self._address)
