"""Jobs of a module that does not know the app yet: `jobs = JobRouter(queue="mail")`, later `shop.include(jobs)`."""

from __future__ import annotations

from collections.abc import Callable

from outlast.core.errors import ConfigurationError
from outlast.core.ids import check_queue_name
from outlast.core.registry import Declaration
from outlast.core.schedule import Scheduled
from outlast.declare.arguments import Arguments
from outlast.enqueue.job import AppLink, JobApp
from outlast.job import Declarer

__all__ = ["JobRouter"]


class JobRouter(Declarer):
    """Declares jobs for one app that includes it, before or after; `queue` is theirs unless they name another."""

    def __init__(self, *, queue: str = "default") -> None:
        self._default_queue = check_queue_name(queue)
        self._app_link = AppLink()
        self._own_middleware = self._middleware = []
        self._declared: list[tuple[Declaration, Arguments]] = []
        self._forward: Callable[[Declaration, Arguments], None] | None = None
        self._scheduled: list[Scheduled] = []
        self._forward_schedule: Callable[[Scheduled], None] | None = None

    def _declare(self, declaration: Declaration, arguments: Arguments) -> None:
        if self._forward is not None:
            self._forward(declaration, arguments)
        self._declared.append((declaration, arguments))

    def _schedule(self, scheduled: Scheduled) -> None:
        if self._forward_schedule is not None:
            self._forward_schedule(scheduled)
        self._scheduled.append(scheduled)

    def _attach(
        self,
        app: JobApp,
        declare: Callable[[Declaration, Arguments], None],
        schedule: Callable[[Scheduled], None],
    ) -> None:
        """Hand every job to the app, those declared later too; raise ConfigurationError when another app has it."""
        if self._app_link.app is not None:
            again = "this app" if self._app_link.app is app else "another app"
            raise ConfigurationError(f"this JobRouter is included in {again} already: include a router once")
        for declaration, arguments in self._declared:
            declare(declaration, arguments)
        for scheduled in self._scheduled:
            schedule(scheduled)
        self._app_link.app = app
        self._forward, self._forward_schedule = declare, schedule
