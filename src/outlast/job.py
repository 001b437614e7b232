"""Declared jobs as a caller sees them, and the decorator that declares them, typed by the handler's own parameters."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Concatenate, Final, Generic, Literal, ParamSpec, Protocol, TypeVar, overload

from outlast.arguments import Arguments
from outlast.core.durations import Duration, seconds
from outlast.core.errors import ConfigurationError
from outlast.core.ids import check_queue_name
from outlast.core.kinds import Upgrade
from outlast.core.message import Message
from outlast.core.policy import DEFAULTS, Policy, Priority, Retry
from outlast.core.registry import Declaration, Registry
from outlast.core.unique import OnConflict, Unique
from outlast.declaring import Declared, check_isolate, check_retry, declaration_of, positive
from outlast.handle import Handle
from outlast.hooks import Surrounded
from outlast.options import NO_OPTIONS, Options
from outlast.scheduler.declare import Scheduling

if TYPE_CHECKING:
    from outlast.worker.context import Context, Middleware

__all__ = ["Bound", "Declarer", "Home", "Job", "JobDecorator", "Link"]

P = ParamSpec("P")
R = TypeVar("R")


class Home(Protocol):
    """The app behind a job."""

    @property
    def registry(self) -> Registry:
        """What it declares."""
        ...

    def compose(
        self, declaration: Declaration, args: tuple[Any, ...], kwargs: dict[str, Any], options: Options
    ) -> Message:
        """Return the message of a call."""
        ...

    async def send(self, messages: Sequence[Message], on_conflict: OnConflict) -> list[Handle[Any]]:
        """Publish the messages."""
        ...

    def send_sync(self, messages: Sequence[Message], on_conflict: OnConflict) -> list[Handle[Any]]:
        """Publish the messages from code that blocks."""
        ...


class Link:
    """Where the jobs of one app or router belong; a router's is empty until an app includes it."""

    __slots__ = ("home",)

    def __init__(self, home: Home | None = None) -> None:
        self.home = home


class Bound(Generic[P, R]):
    """A job with the options of its next enqueues. It may be kept, shared and used any number of times."""

    def __init__(self, declaration: Declaration, link: Link, options: Options = NO_OPTIONS) -> None:
        self.declaration: Final = declaration
        self.options: Final = options
        self._link = link
        self._on_conflict = options.on_conflict or declaration.on_conflict

    @property
    def kind(self) -> str:
        """The handler's registered name."""
        return self.declaration.kind

    @property
    def queue(self) -> str:
        """The queue its jobs go to."""
        return self.declaration.queue

    @property
    def _home(self) -> Home:
        home = self._link.home
        if home is None:
            raise ConfigurationError(
                f"job {self.declaration.kind!r} belongs to a JobRouter that no app includes: call shop.include(router)"
            )
        return home

    def message(self, *args: P.args, **kwargs: P.kwargs) -> Message:
        """Return the checked message of a call, for `enqueue_many`; nothing is stored.

        Raise InvalidArguments or BodyTooLarge.
        """
        return self._home.compose(self.declaration, args, kwargs, self.options)

    async def enqueue(self, *args: P.args, **kwargs: P.kwargs) -> Handle[R]:
        """Store the job and return its handle: it is durable at the level that the handle names.

        Raise InvalidArguments, BodyTooLarge, QueueFull, UniqueConflict (with `on_conflict="raise"`), StoreError;
        EnqueueUnknown when the store did not answer in time: repeating with its id is safe.
        """
        home = self._home
        message = home.compose(self.declaration, args, kwargs, self.options)
        return (await home.send([message], self._on_conflict))[0]

    def enqueue_sync(self, *args: P.args, **kwargs: P.kwargs) -> Handle[R]:
        """Do the same from code that blocks; raise WrongThread on a thread that runs an event loop."""
        home = self._home
        message = home.compose(self.declaration, args, kwargs, self.options)
        return home.send_sync([message], self._on_conflict)[0]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.declaration.kind!r}, queue={self.declaration.queue!r})"


class Job(Bound[P, R]):
    """A declared job. `job.handler` is the function itself."""

    def __init__(self, declaration: Declaration, link: Link) -> None:
        super().__init__(declaration, link)
        self.handler: Final = declaration.handler
        self.__name__ = declaration.handler.__name__
        self.__qualname__ = declaration.handler.__qualname__
        self.__module__ = declaration.handler.__module__
        self.__doc__ = declaration.handler.__doc__
        self.__wrapped__ = declaration.handler

    def with_options(
        self,
        *,
        delay: Duration | None = None,
        run_at: float | datetime | None = None,
        priority: Priority | None = None,
        unique: str | Unique | None = None,
        id: str | None = None,  # noqa: A002 - the word that users know
        key: str | None = None,
        expires: Duration | None = None,
        on_conflict: OnConflict | None = None,
        headers: dict[str, str] | None = None,
    ) -> Bound[P, R]:
        """Return the job with options for its next enqueues; None leaves what was declared.

        delay or run_at: when it is due (run_at: a datetime with a zone, or seconds since 1970). unique: the key to
        hold. id: the job's own id, at most once in its queue while it is remembered (24 h at least). expires: not to
        be started later than this after it is due. on_conflict: what a held unique key does (`job`). headers: what the
        run finds in `ctx.headers`, such as a request id. Raise ConfigurationError.
        """
        return Bound(
            self.declaration,
            self._link,
            Options(
                delay=delay,
                run_at=run_at,
                priority=priority,
                unique=unique,
                id=id,
                key=key,
                expires=expires,
                on_conflict=on_conflict,
                headers=headers,
            ),
        )

    async def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Just run the handler here: no queue, no retry, no middleware. A plain function runs in a thread.

        A context is supplied, and what it depends on and is not given.
        """
        from outlast.inline import run_inline

        async def publish(messages: Sequence[Message]) -> object:
            return await self._home.send(messages, "existing")

        overrides = {} if self._link.home is None else self._link.home.registry.overrides
        value: R = await run_inline(self.declaration, args, kwargs, publish, overrides)
        return value


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


class Declarer(Surrounded, Scheduling, ABC):
    """What an app and a router have in common: the `job` decorator."""

    _default_queue: str
    _link: Link
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
