"""The `job` decorator, typed by the handler's own parameters."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Concatenate, Literal, Protocol, overload

from outlast.core.durations import Duration, seconds
from outlast.core.errors import ConfigurationError
from outlast.core.ids import check_queue_name
from outlast.core.kinds import Upgrade
from outlast.core.policy import DEFAULTS, Policy, Priority, Retry
from outlast.core.registry import Declaration
from outlast.core.unique import OnConflict
from outlast.declare.arguments import Arguments
from outlast.declare.declaration import Declared, check_isolate, check_retry, declaration_of, positive
from outlast.declare.hooks import MiddlewareMixin
from outlast.enqueue.job import AppLink, Bound, Job, P, R
from outlast.scheduler.declare import Scheduling

if TYPE_CHECKING:
    from outlast.declare.context import Context, Middleware

__all__ = ["Declarer", "JobDecorator"]


class JobDecorator(Protocol):
    """Makes a Job of a handler: async or plain, with a context first or without."""

    @overload
    def __call__(self, handler: Callable[Concatenate[Context, P], Coroutine[Any, Any, R]], /) -> Job[P, R]: ...
    @overload
    def __call__(self, handler: Callable[P, Coroutine[Any, Any, R]], /) -> Job[P, R]: ...
    @overload
    def __call__(self, handler: Callable[Concatenate[Context, P], R], /) -> Job[P, R]: ...
    @overload
    def __call__(self, handler: Callable[P, R], /) -> Job[P, R]: ...


class Declarer(MiddlewareMixin, Scheduling, ABC):
    """What an app and a router have in common: the `job` decorator."""

    _default_queue: str
    _link: AppLink
    _around: Sequence[Middleware] = ()
    """The middleware of these jobs alone."""

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
    def job(
        self,
        /,
        *,
        kind: str | None = None,
        queue: str | None = None,
        timeout: Duration | None = DEFAULTS.timeout,
        retry: Retry | None = None,
        priority: Priority = "normal",
        expires: Duration | None = None,
        key: str | Callable[..., str | None] | None = None,
        unique: bool | str | Callable[..., str | None] | None = None,
        unique_until: Literal["start", "finish"] = "finish",
        unique_for: Duration | None = None,
        on_conflict: OnConflict = "existing",
        isolate: Literal["process"] | None = None,
        version: int = 1,
        aliases: Iterable[str] = (),
        upgrades: Mapping[int, Upgrade] | None = None,
        result_ttl: Duration = DEFAULTS.result_ttl,
    ) -> JobDecorator: ...
    def job(
        self,
        handler: Callable[..., Any] | None = None,
        /,
        *,
        kind: str | None = None,
        queue: str | None = None,
        timeout: Duration | None = DEFAULTS.timeout,
        retry: Retry | None = None,
        priority: Priority = "normal",
        expires: Duration | None = None,
        key: str | Callable[..., str | None] | None = None,
        unique: bool | str | Callable[..., str | None] | None = None,
        unique_until: Literal["start", "finish"] = "finish",
        unique_for: Duration | None = None,
        on_conflict: OnConflict = "existing",
        isolate: Literal["process"] | None = None,
        version: int = 1,
        aliases: Iterable[str] = (),
        upgrades: Mapping[int, Upgrade] | None = None,
        result_ttl: Duration = DEFAULTS.result_ttl,
    ) -> Any:
        """Declare a handler as a job, bare or with options; raise ConfigurationError or DuplicateKind. Does no I/O.

        An `async def` runs on the worker's loop; a plain function in a thread, which cannot be stopped: past its
        timeout the job counts as timed out and the slot stays taken until the function returns.
        `isolate="process"` runs it in a child process, which is killed instead.

        kind: its name on the wire, the function's own if left out. timeout: of one run, None for none. expires: not
        to be started later than this after it is due. key: a parameter, or a callable that gets the arguments by
        name: what limits, fairness and erasure go by. unique: True (same arguments), a template such as
        "receipt:{order_id}", or a callable; held until the job's start or finish, or `unique_for` a time. on_conflict:
        while another job holds the key, that job stands for this one ("existing"), or UniqueConflict is raised
        ("raise"), or this one takes its place if it waits, and else is the one that runs ("replace").

        version: of its arguments, one more with each change that jobs which wait would not fit. upgrades: by version, a
        function that makes of a job's stored arguments (plain JSON values by name) those of the next version, without a
        hole up to this one. aliases: names that the kind had before, whose jobs this handler runs too.
        """
        declared = Declared(
            kind=kind,
            queue=check_queue_name(self._default_queue if queue is None else queue),
            policy=Policy(
                retry=check_retry(retry),
                timeout=None if timeout is None else positive(timeout, "timeout"),
                result_ttl=seconds(result_ttl, "result_ttl"),
            ),
            priority=priority,
            expires=None if expires is None else positive(expires, "expires"),
            key=key,
            unique=unique,
            unique_until=unique_until,
            on_conflict=on_conflict,
            unique_seconds=None if unique_for is None else positive(unique_for, "unique_for"),
            isolated=check_isolate(isolate),
            version=version,
            aliases=aliases,
            upgrades=upgrades,
        )

        def decorate(function: Callable[..., Any]) -> Job[Any, Any]:
            if isinstance(function, Bound):
                raise ConfigurationError(f"{function!r} is a job already: put one @job decorator on a function")
            declaration, arguments = declaration_of(function, declared, self._around)
            self._declare(declaration, arguments)
            self._take_schedules(declaration)
            return Job(declaration, self._link)

        return decorate if handler is None else decorate(handler)
