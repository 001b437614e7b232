"""The context of a run: a handler reads its job there, enqueues follow-up jobs and reports progress."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ParamSpec, Protocol, TypeAlias, TypeVar, Unpack

from msgspec import Raw

from outlast.core.errors import ConfigurationError
from outlast.core.message import Message
from outlast.core.registry import Declaration
from outlast.core.text import shown
from outlast.declare.options import EventOptions

if TYPE_CHECKING:
    import logging

    from outlast.declare.once import Effects

__all__ = ["CallNext", "Context", "Done", "Enqueueable", "FollowUp", "Middleware", "Publishable", "RunPort"]

P = ParamSpec("P")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)


class Enqueueable(Protocol[P]):
    """A declared job, with options or without: it makes a message from the arguments of its handler."""

    def message(self, *args: P.args, **kwargs: P.kwargs) -> Message:
        """Return a checked message; raise InvalidArguments."""


class Publishable(Protocol[R_co]):
    """A declared exchange: it publishes events, each with an id, and returns what became of it."""

    @property
    def name(self) -> str:
        """The name."""

    async def publish(self, key: str, event: object, **options: Unpack[EventOptions]) -> R_co:
        """Publish an event."""

    def publish_sync(self, key: str, event: object, **options: Unpack[EventOptions]) -> R_co:
        """Publish an event from blocking code."""


class RunPort(Protocol):
    """The run of a context. Every method may be called from any thread and returns at once."""

    @property
    def cancelled(self) -> bool:
        """Whether the run must stop."""

    @property
    def remaining(self) -> float | None:
        """Seconds until the timeout of the run, None when it has none."""

    @property
    def message(self) -> Message | None:
        """The message of the job; None when the handler was called directly."""

    @property
    def traceparent(self) -> str:
        """The trace of the run, for its log lines; "" for none."""

    def used(self, cpu: float) -> None:
        """Record the CPU seconds of the handler."""

    def follow(self, message: Message) -> None:
        """Add a job to enqueue when the run succeeds."""

    def note(self, name: str, value: Raw) -> None:
        """Record a named value of the run, such as its progress."""

    @property
    def effects(self) -> Effects:
        """The effects of the job that must not be repeated. Raise ConfigurationError where the store keeps none."""


class Done:
    """The result of a call that has finished: `await` is allowed, and not needed (a thread cannot)."""

    __slots__ = ()

    def __await__(self) -> Generator[Any, None, None]:
        """Return at once."""
        yield from ()


class FollowUp:
    """A job that will be enqueued when this run succeeds; the store has no record before.

    `id` leads to the job from then on: if another job holds its unique key, to that one.
    """

    __slots__ = ("id",)

    def __init__(self, job_id: str) -> None:
        self.id = job_id

    def __await__(self) -> Generator[Any, None, FollowUp]:
        """Return this follow-up at once."""
        yield from ()
        return self

    def __repr__(self) -> str:
        return f"FollowUp({self.id!r})"


class Context:
    """One run of one job: its identity, its attempt, and the calls that a handler may make.

    attempt: the number of the run, from 1. crashes: earlier deliveries whose process ended during the run. Every method
    but `publish` may be called from the thread of a plain function, without `await`.
    """

    __slots__ = ("_published", "_run", "attempt", "crashes", "id", "kind", "queue")

    def __init__(
        self,
        *,
        id: str,  # noqa: A002 - the public name
        queue: str,
        kind: str,
        run: RunPort,
        attempt: int = 1,
        crashes: int = 0,
    ) -> None:
        self.id = id
        self.queue = queue
        self.kind = kind
        self.attempt = attempt
        self.crashes = crashes
        self._run = run
        self._published: dict[tuple[str, str, int], object] = {}
        """What numbers the events of this run with one exchange and one key: each number is taken by one call."""

    @property
    def cancelled(self) -> bool:
        """Whether the run must stop: after a timeout, a cancel, or because the worker stops.

        A function in a thread checks this and raises to stop; if it returns, the run has succeeded.
        """
        return self._run.cancelled

    @property
    def remaining(self) -> float | None:
        """Seconds until the timeout of the run, None when it has none.

        That is the deadline of the guarded calls of the handler: `outlast.remaining()` returns the same, or less inside
        a block of `outlast.deadline`.
        """
        return self._run.remaining

    @property
    def deadline(self) -> float | None:
        """The same as `remaining`: seconds, not a time of day."""
        return self._run.remaining

    @property
    def key(self) -> str | None:
        """The key for limits, fairness and erasure, such as a tenant."""
        message = self._run.message
        return None if message is None else message.key

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers of `with_options(headers=...)`, such as a request id."""
        message = self._run.message
        return {} if message is None else message.headers or {}

    @property
    def arguments(self) -> dict[str, Any]:
        """The stored arguments by name, for logs: redacted ones are masked, defaults left out."""
        from outlast.core.codec import redact_args

        message = self._run.message
        return {} if message is None else redact_args(message.args, message.redacted)

    @property
    def logger(self) -> logging.LoggerAdapter[logging.Logger]:
        """A logger that adds `job`, `queue`, `kind`, `attempt` and `trace` (its `traceparent`) to its records."""
        from logging import LoggerAdapter, getLogger  # not at the top: declarations do not need logging

        added = {"job": self.id, "queue": self.queue, "kind": self.kind, "attempt": self.attempt}
        return LoggerAdapter(getLogger("outlast.job"), {**added, "trace": self._run.traceparent})

    def enqueue(self, job: Enqueueable[P], /, *args: P.args, **kwargs: P.kwargs) -> FollowUp:
        """Enqueue another job if, and only if, this run succeeds: stored in the step that settles this job.

        A run that fails, is cancelled or crashes enqueues nothing. A full queue accepts follow-ups. `await` is allowed,
        and not needed. Raise InvalidArguments or BodyTooLarge now, and ConfigurationError for a unique key with
        on_conflict="raise": whether the key is held is known only when this run has ended.
        """
        if not callable(getattr(job, "message", None)):
            raise ConfigurationError(
                f"ctx.enqueue: {shown(job)} is no job: give a function declared with @app.job(...), then its arguments"
            )
        message = job.message(*args, **kwargs)
        if message.unique is not None and getattr(job, "on_conflict", None) == "raise":
            raise ConfigurationError(
                "ctx.enqueue: on_conflict='raise' cannot raise, since the job is stored after this run: give "
                "with_options(on_conflict='existing') or 'replace', or enqueue it at once: await job.enqueue(...)"
            )
        if not isinstance(getattr(job, "declaration", None), Declaration):  # a declared job has made these checks
            from outlast.core.codec import check, check_args

            check(message)
            check_args(message)
        self._run.follow(message)
        return FollowUp(message.id)

    async def publish(self, exchange: Publishable[R], key: str, event: object, **options: Unpack[EventOptions]) -> R:
        """Publish an event now; return what `exchange.publish` returns, and raise what it raises.

        The event is stored though this run may fail later. Its id is derived from the id of this job, the exchange, the
        key and the number of events that this run has published with both: a run that is made again publishes the same
        events, and nothing is stored twice. Where a handler publishes with one key in an order that may change, or
        again in a run after a Snooze, give an id of your own.
        """
        with self._event_id(exchange, key, options):
            return await exchange.publish(key, event, **options)

    def publish_sync(self, exchange: Publishable[R], key: str, event: object, **options: Unpack[EventOptions]) -> R:
        """Publish an event from the thread of a plain function, as `publish` does; raise WrongThread on a loop's."""
        with self._event_id(exchange, key, options):
            return exchange.publish_sync(key, event, **options)

    @contextmanager
    def _event_id(self, exchange: Publishable[object], key: str, options: EventOptions) -> Iterator[None]:
        """Give an event its id; an event that is not stored leaves it to the next one, which may be its repetition."""
        if not callable(getattr(exchange, "publish", None)):
            raise ConfigurationError(
                f"ctx.publish: {shown(exchange)} is no exchange: give what app.exchange(...) returned, then the key "
                "and the event"
            )
        message = self._run.message
        if options.get("id") is not None or message is None or not isinstance(key, str):
            yield  # called directly there is no job whose run could be made again
            return
        from outlast.core.bounds import plain_text
        from outlast.core.exchanges.copies import event_of_job

        name, plain, number, mine = exchange.name, plain_text(key), 0, object()
        while self._published.setdefault((name, plain, number), mine) is not mine:  # one step, also among threads
            number += 1
        options["id"] = event_of_job(message.id, name, plain, number)
        try:
            yield
        except BaseException:
            del self._published[name, plain, number]
            raise

    async def once(self, key: str, function: Callable[P, Any], /, *args: P.args, **kwargs: P.kwargs) -> Any:
        """Do an effect once over all runs of this job: `await ctx.once("charge", charge, order_id)`.

        Call the function, which may be a coroutine function, and keep its result with the job before this returns. A
        later run gets that result, and the function is not called. The result is plain data, as JSON has it, in each
        run. An effect that fails is not done. One whose process dies before its result is stored is repeated: give it
        an idempotency key of its own, such as `f"{ctx.id}:{key}"`.

        Raise what the function raises; InvalidArguments for a key that is not 1 to 200 characters; ConfigurationError
        where the store keeps no results, or while the same effect runs; GiveUp for a result that cannot be kept (no
        JSON form, or all results of the job exceed `max_body`): the work is done, so that the job must not run again.
        """
        return await self._run.effects.once(key, function, args, kwargs)

    def once_sync(self, key: str, function: Callable[P, Any], /, *args: P.args, **kwargs: P.kwargs) -> Any:
        """Do the same in a plain function, with a plain function. Raise WrongThread where an event loop runs."""
        return self._run.effects.once_sync(key, function, args, kwargs)

    def progress(self, value: Any) -> Done:
        """Record `value`, which must have a JSON form, as the progress of this job; it replaces the last one.

        The call never waits for the store; values that come faster than the store can write are skipped. `await` is
        allowed, and not needed. Raise BodyTooLarge past `max_body` bytes, ConfigurationError where the store keeps no
        progress.
        """
        from outlast.core.codec import encode_value

        self._run.note("progress", encode_value(value))
        return Done()


CallNext: TypeAlias = Callable[[], Awaitable[Any]]
"""Runs the next middleware, at the end the handler, and returns its value."""
Middleware: TypeAlias = Callable[[Context, CallNext], Awaitable[Any]]
"""Wraps a run: `async def mw(ctx: Context, call_next: CallNext) -> Any`."""
