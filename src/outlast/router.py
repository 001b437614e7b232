"""Jobs of a module that does not import the app: `jobs = JobRouter(queue="mail")`, later `shop.include(jobs)`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from outlast.core.errors import ConfigurationError
from outlast.core.exchanges.values import Exchange
from outlast.core.ids import check_queue_name
from outlast.core.registry import Declaration
from outlast.core.schedule import Scheduled
from outlast.declare.arguments import Arguments
from outlast.enqueue.job import AppLink
from outlast.job import Declarer

if TYPE_CHECKING:
    from outlast.app import Outlast

__all__ = ["JobRouter"]


class JobRouter(Declarer):
    """Declares jobs for one app, before or after the app includes it. queue: of the jobs that name no queue."""

    def __init__(self, *, queue: str = "default") -> None:
        self._default_queue = check_queue_name(queue)
        self._app_link = AppLink()
        self._own_middleware = self._middleware = []
        self._declared: list[tuple[Declaration, Arguments]] = []
        self._scheduled: list[Scheduled] = []
        self._exchanges: list[Exchange] = []
        self._app: Outlast | None = None

    def _declare(self, declaration: Declaration, arguments: Arguments) -> None:
        if self._app is not None:
            self._app._declare(declaration, arguments)
        self._declared.append((declaration, arguments))

    def _schedule(self, scheduled: Scheduled) -> None:
        if self._app is not None:
            self._app._schedule(scheduled)
        self._scheduled.append(scheduled)

    def _declare_exchange(self, exchange: Exchange) -> None:
        if self._app is not None:
            self._app._declare_exchange(exchange)
        self._exchanges.append(exchange)

    def _attach(self, app: Outlast) -> None:
        """Declare all jobs in `app`, later ones too; raise ConfigurationError if an app includes the router already."""
        if self._app is not None:
            again = "this app" if self._app is app else "another app"
            raise ConfigurationError(f"this JobRouter is included in {again} already: include a router once")
        for exchange in self._exchanges:
            app._declare_exchange(exchange)
        for declaration, arguments in self._declared:
            app._declare(declaration, arguments)
        for scheduled in self._scheduled:
            app._schedule(scheduled)
        self._app = self._app_link.app = app
