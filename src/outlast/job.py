"""The `job` decorator, typed by the handler's own parameters."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, Any, Concatenate, Protocol, Unpack, overload

from outlast.core.errors import ConfigurationError
from outlast.core.registry import Declaration
from outlast.declare.arguments import Arguments
from outlast.declare.declaration import declaration_of
from outlast.declare.hooks import MiddlewareMixin
from outlast.declare.options import JobOptions, check_names
from outlast.enqueue.exchange import Exchanging
from outlast.enqueue.job import AppLink, Bound, Job, P, R
from outlast.scheduler.declare import Scheduling

if TYPE_CHECKING:
    from outlast.declare.context import Context, Middleware

__all__ = ["Declarer", "JobDecorator"]


class JobDecorator(Protocol):
    """Makes a Job from a handler: async or plain, with or without a context as the first parameter."""

    @overload
    def __call__(self, handler: Callable[Concatenate[Context, P], Coroutine[Any, Any, R]], /) -> Job[P, R]: ...
    @overload
    def __call__(self, handler: Callable[P, Coroutine[Any, Any, R]], /) -> Job[P, R]: ...
    @overload
    def __call__(self, handler: Callable[Concatenate[Context, P], R], /) -> Job[P, R]: ...
    @overload
    def __call__(self, handler: Callable[P, R], /) -> Job[P, R]: ...


class Declarer(MiddlewareMixin, Scheduling, Exchanging, ABC):
    """The base of app and router that has the `job` decorator."""

    _default_queue: str
    _app_link: AppLink
    _own_middleware: Sequence[Middleware] = ()
    """The middleware of these jobs only."""

    @abstractmethod
    def _declare(self, declaration: Declaration, arguments: Arguments) -> None:
        """Keep a declaration."""

    @overload
    def job(self, handler: Callable[Concatenate[Context, P], Coroutine[Any, Any, R]], /) -> Job[P, R]: ...
    @overload
    def job(self, handler: Callable[P, Coroutine[Any, Any, R]], /) -> Job[P, R]: ...
    @overload
    def job(self, handler: Callable[Concatenate[Context, P], R], /) -> Job[P, R]: ...
    @overload
    def job(self, handler: Callable[P, R], /) -> Job[P, R]: ...
    @overload
    def job(self, /, **options: Unpack[JobOptions]) -> JobDecorator: ...
    def job(self, handler: Callable[..., Any] | None = None, /, **options: Unpack[JobOptions]) -> Any:
        """Declare a handler as a job: `@app.job` or `@app.job(...)`. Does no I/O.

        An `async def` runs on the worker's loop. A plain function runs in a thread, which cannot be stopped: past its
        timeout the job counts as timed out, and the slot stays in use until the function returns.
        `isolate="process"` runs it in a child process, which is killed past the timeout.

        options: kind, queue, timeout, retry, priority, expires, max_wait, key, unique, unique_until, unique_for,
        on_conflict, inherit_deadline, needs, on, isolate, version, aliases, upgrades, result_ttl: see
        `outlast.declare.options.JobOptions`. Raise ConfigurationError or DuplicateKind.
        """
        check_names(options, JobOptions.__optional_keys__, "job")

        def decorate(function: Callable[..., Any]) -> Job[Any, Any]:
            if isinstance(function, Bound):
                raise ConfigurationError(f"{function!r} is a job already: put one @job decorator on a function")
            declaration, arguments = declaration_of(
                function, options, default_queue=self._default_queue, middleware=self._own_middleware
            )
            self._declare(declaration, arguments)
            self._take_schedules(declaration)
            return Job(declaration, self._app_link)

        return decorate if handler is None else decorate(handler)
