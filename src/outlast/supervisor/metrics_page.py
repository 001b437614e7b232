"""The metrics of a service: its processes' by their readings, its store's by samples that the history keeps too."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Final

from outlast.core.errors import ConfigurationError, StoreError, StoreUnavailable
from outlast.core.store.store import Store
from outlast.meters.metric import Reading
from outlast.meters.process_metrics import show_process_use
from outlast.observe.declared import DeclaredQueues
from outlast.observe.exposition import Exposition
from outlast.observe.sampler import Sampler
from outlast.observe.server import PageReply, PageRequest
from outlast.supervisor.messages import WorkerHello
from outlast.worker.store_link import StoreLink

__all__ = ["MetricsOfService"]

_logger = logging.getLogger("outlast.supervisor")


class MetricsOfService:
    """Answers scrapes of a supervisor. hello: what its workers have told of the app, None before.

    link: its link to the store, None while there is none. Where the connections of the workers hold the jobs it has
    none, and the first sample opens a store by `connect`.
    """

    def __init__(
        self,
        readings: Callable[[], Sequence[Reading]],
        hello: Callable[[], WorkerHello | None],
        link: Callable[[], StoreLink | None],
        connect: Callable[[], Store],
    ) -> None:
        self.sampler: Final = Sampler(self._store, self._declared)
        self._readings = readings
        self._hello = hello
        self._link = link
        self._connect = connect
        self._own: Store | None = None
        self._exposition: Exposition | None = None
        self._told = False
        show_process_use()

    async def page(self, request: PageRequest) -> PageReply:
        """Return the page /metrics; 501 without prometheus-client, which the log tells once."""
        if self._exposition is None:
            try:
                self._exposition = Exposition(self._readings, [self.sampler])
            except ConfigurationError as error:
                if not self._told:
                    self._told = True
                    _logger.error("/metrics is not shown: %s", error)  # noqa: TRY400 - the line is for the operator
                return PageReply(501, f"{error}\n".encode(), "text/plain; charset=utf-8")
        content_type, body = await self._exposition.answer(request.headers.get("accept", ""))
        return PageReply(200, body, content_type)

    async def close(self) -> None:
        """Close the store that was opened for samples."""
        if self._own is not None:
            try:
                await self._own.broker.close()
            except StoreError as error:
                _logger.debug("the store of the samples was not closed: %s", error)

    def _declared(self) -> DeclaredQueues | None:
        hello = self._hello()
        return None if hello is None else DeclaredQueues(hello.app, hello.kinds, hello.objectives)

    async def _store(self) -> Store:
        link, hello = self._link(), self._hello()
        if link is not None:
            return link.store
        if hello is None or hello.leases:
            raise StoreUnavailable("the supervisor has no connection to the store")
        if self._own is None:
            store = self._connect()
            await store.broker.open()
            self._own = store
        return self._own
