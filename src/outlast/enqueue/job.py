"""A declared job for callers: enqueue, call or compose it, typed by the handler's own parameters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, Generic, ParamSpec, Protocol, TypeVar, Unpack

from outlast.core.errors import ConfigurationError
from outlast.core.message import Message
from outlast.core.registry import Declaration, Registry
from outlast.core.unique import OnConflict
from outlast.declare.options import NO_OPTIONS, EnqueueOptions, Options, check_names
from outlast.enqueue.handle import Handle, HandleOfKind

if TYPE_CHECKING:
    from outlast.core.exchanges.values import ExchangeEvent
    from outlast.declare.options import EventOptions
    from outlast.enqueue.published import PublishedEvent
    from outlast.enqueue.runtime import Runtime

__all__ = ["AppLink", "Bound", "Job", "JobApp", "P", "R"]

_ENQUEUES: Final = frozenset(("delay", "send", "kiq", "push", "defer", "perform_async", "s", "si"))
_LATER: Final = frozenset(
    ("apply_async", "send_with_options", "schedule", "enqueue_in", "enqueue_at", "enqueue_job", "perform_in", "kicker")
)
"""What other queues call an enqueue, and one with options."""

P = ParamSpec("P")
R = TypeVar("R")


class JobApp(Protocol):
    """The app of a job."""

    @property
    def registry(self) -> Registry:
        """The declarations of the app."""

    def compose(
        self, declaration: Declaration, args: tuple[Any, ...], kwargs: dict[str, Any], options: Options
    ) -> Message:
        """Return the message of a call."""

    async def send(self, messages: Sequence[Message], on_conflict: OnConflict) -> list[Handle[Any]]:
        """Publish the messages."""

    def send_sync(self, messages: Sequence[Message], on_conflict: OnConflict) -> list[Handle[Any]]:
        """Publish the messages from blocking code."""

    async def runtime(self) -> Runtime:
        """Return the Runtime of the running loop."""

    def compose_event(self, exchange: str, key: str, event: object, options: EventOptions) -> ExchangeEvent:
        """Return the event of a call."""

    async def publish_events(self, events: Sequence[ExchangeEvent]) -> list[PublishedEvent]:
        """Publish the events."""

    def publish_events_sync(self, events: Sequence[ExchangeEvent]) -> list[PublishedEvent]:
        """Publish the events from blocking code."""


class AppLink:
    """The app of the jobs of one app or router; None for a router that no app includes yet."""

    __slots__ = ("app",)

    def __init__(self, app: JobApp | None = None) -> None:
        self.app = app


class Bound(Generic[P, R]):
    """A job with options for its enqueues. It may be stored, shared and used any number of times."""

    def __init__(self, declaration: Declaration, app_link: AppLink, options: Options = NO_OPTIONS) -> None:
        self.declaration: Final = declaration
        self.options: Final = options
        self._app_link = app_link
        self._on_conflict = options.on_conflict or declaration.on_conflict

    @property
    def kind(self) -> str:
        """The handler's registered name."""
        return self.declaration.kind

    @property
    def queue(self) -> str:
        """The queue of its jobs."""
        return self.declaration.queue

    @property
    def on_conflict(self) -> OnConflict:
        """What an enqueue does when another job holds the unique key."""
        return self._on_conflict

    @property
    def _app(self) -> JobApp:
        app = self._app_link.app
        if app is None:
            raise ConfigurationError(
                f"job {self.declaration.kind!r} belongs to a JobRouter that no app includes: call shop.include(router)"
            )
        return app

    def message(self, *args: P.args, **kwargs: P.kwargs) -> Message:
        """Return the checked message of a call, for `enqueue_many`. Nothing is stored.

        Raise InvalidArguments or BodyTooLarge.
        """
        return self._app.compose(self.declaration, args, kwargs, self.options)

    async def enqueue(self, *args: P.args, **kwargs: P.kwargs) -> Handle[R]:
        """Store the job and return its handle; `handle.durability` says what the job survives.

        Raise InvalidArguments, BodyTooLarge, QueueFull, UniqueConflict (with `on_conflict="raise"`), StoreError;
        EnqueueUnknown when the store did not answer in time: repeating with the same id is safe.
        """
        app = self._app
        message = app.compose(self.declaration, args, kwargs, self.options)
        return (await app.send([message], self._on_conflict))[0]

    def enqueue_sync(self, *args: P.args, **kwargs: P.kwargs) -> Handle[R]:
        """Enqueue from blocking code; raise WrongThread on a thread that runs an event loop."""
        app = self._app
        message = app.compose(self.declaration, args, kwargs, self.options)
        return app.send_sync([message], self._on_conflict)[0]

    def handle(self, job_id: str) -> Handle[R]:
        """Return the handle of a job of this kind that was enqueued before, typed as `enqueue` returns it.

        Raise InvalidArguments when `job_id` is not an id; the calls of the handle raise JobNotFound for a job of
        another kind. `shop.handle(job_id)` takes every kind.
        """
        return HandleOfKind(job_id, self._app.runtime, self.declaration.kind)

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            raise AttributeError(_hint(self, name), name=name, obj=self)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.declaration.kind!r}, queue={self.declaration.queue!r})"


class Job(Bound[P, R]):
    """A declared job. `job.handler` is the function itself."""

    def __init__(self, declaration: Declaration, app_link: AppLink) -> None:
        super().__init__(declaration, app_link)
        self.handler: Final = declaration.handler
        self.__name__ = declaration.handler.__name__
        self.__qualname__ = declaration.handler.__qualname__
        self.__module__ = declaration.handler.__module__
        self.__doc__ = declaration.handler.__doc__
        self.__wrapped__ = declaration.handler

    def with_options(self, **options: Unpack[EnqueueOptions]) -> Bound[P, R]:
        """Return the job with options for its enqueues; None keeps the declared option. Raise ConfigurationError.

        options: delay, run_at, priority, unique, id, key, expires, max_wait, on_conflict, headers: see
        `outlast.declare.options.EnqueueOptions`.
        """
        try:
            checked = Options(**options)
        except TypeError:
            check_names(options, EnqueueOptions.__optional_keys__, "with_options")
            raise
        return Bound(self.declaration, self._app_link, checked)

    async def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run the handler here: no queue, no retry, no middleware. A plain function runs in a thread.

        The context, and the dependencies that the caller does not pass, are supplied.
        """
        from outlast.enqueue.direct import call_directly

        overrides = {} if self._app_link.app is None else self._app_link.app.registry.overrides
        value: R = await call_directly(
            self.declaration, args, kwargs, lambda messages: self._app.send(messages, "existing"), overrides
        )
        return value


def _hint(job: Bound[Any, Any], name: str) -> str:
    """Return the text of the error for an attribute that a job does not have; it says what to write."""
    declaration = job.__dict__.get("declaration")
    lacks = f"{type(job).__name__!r} object has no attribute {name!r}"
    if declaration is None:  # not made yet: copy and pickle ask for attributes of an empty object
        return lacks
    call = declaration.handler.__name__
    if name in _ENQUEUES:
        return f"{lacks}: write `await {call}.enqueue(...)`, or {call}.enqueue_sync(...) in code that is not async"
    if name in _LATER:
        return f"{lacks}: write `await {call}.with_options(delay=60).enqueue(...)`, with the options that you need"
    if name == "with_options":
        return f"{lacks}: give all options in one call, {call}.with_options(delay=60, priority='high')"
    return lacks
