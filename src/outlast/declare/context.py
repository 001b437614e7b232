"""What a handler may know about its run, and ask of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any, ParamSpec, Protocol, TypeAlias

from msgspec import Raw

from outlast.core.message import Message

if TYPE_CHECKING:
    import logging

__all__ = ["CallNext", "Context", "Done", "Enqueueable", "FollowUp", "Middleware", "RunPort"]

P = ParamSpec("P")


class Enqueueable(Protocol[P]):
    """A declared job, or one with options: anything that makes a message from a handler's arguments."""

    def message(self, *args: P.args, **kwargs: P.kwargs) -> Message:
        """Return a checked message; raise InvalidArguments."""
        ...


class RunPort(Protocol):
    """The run behind a context. Every method may be called from any thread and returns at once."""

    @property
    def cancelled(self) -> bool:
        """Whether the run was asked to stop."""
        ...

    @property
    def remaining(self) -> float | None:
        """Seconds until the run's timeout, None when it has none."""
        ...

    @property
    def message(self) -> Message | None:
        """What was enqueued; None when the handler was called without a job."""
        ...

    def used(self, cpu: float) -> None:
        """Hear how many CPU seconds the handler took."""
        ...

    def follow(self, message: Message) -> None:
        """Take a job that is to be enqueued when the run succeeds."""
        ...

    def note(self, name: str, value: Raw) -> None:
        """Take something to keep about the run."""
        ...


class Done:
    """Something that is already done: it may be awaited, and need not be (a thread cannot)."""

    __slots__ = ()

    def __await__(self) -> Generator[Any, None, None]:
        """Return at once."""
        yield from ()


class FollowUp:
    """A job that will be enqueued when this run succeeds. `id` is final; there is nothing to look up before."""

    __slots__ = ("id",)

    def __init__(self, job_id: str) -> None:
        self.id = job_id

    def __await__(self) -> Generator[Any, None, FollowUp]:
        """Return itself at once."""
        yield from ()
        return self

    def __repr__(self) -> str:
        return f"FollowUp({self.id!r})"


class Context:
    """One run of one job: who it is, how often it ran, and what it may ask for.

    attempt counts runs from 1; crashes counts hand-outs whose process died in mid run. Every method may be called
    from a plain function's thread, without `await`.
    """

    __slots__ = ("_run", "attempt", "crashes", "id", "kind", "queue")

    def __init__(
        self,
        *,
        id: str,  # noqa: A002 - the word that users know
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

    @property
    def cancelled(self) -> bool:
        """Whether the run was asked to stop: timeout, cancel, or a stopping worker.

        A thread looks at this, and raises to stop: one that returns has succeeded.
        """
        return self._run.cancelled

    @property
    def remaining(self) -> float | None:
        """Seconds until the run's timeout, None when it has none."""
        return self._run.remaining

    @property
    def key(self) -> str | None:
        """What the job is limited and erased by: its tenant, say."""
        message = self._run.message
        return None if message is None else message.key

    @property
    def headers(self) -> Mapping[str, str]:
        """What was sent along with `with_options(headers=...)`: a request id, a trace."""
        message = self._run.message
        return {} if message is None else message.headers or {}

    @property
    def arguments(self) -> dict[str, Any]:
        """The arguments as they are stored, by name, for logs: those marked Redacted are masked, defaults left out."""
        from outlast.core.codec import redact_args

        message = self._run.message
        return {} if message is None else redact_args(message.args, message.redacted)

    @property
    def logger(self) -> logging.LoggerAdapter[logging.Logger]:
        """A logger whose records carry `job`, `queue`, `kind` and `attempt`."""
        from logging import LoggerAdapter

        return LoggerAdapter(
            _logger(), {"job": self.id, "queue": self.queue, "kind": self.kind, "attempt": self.attempt}
        )

    def enqueue(self, job: Enqueueable[P], /, *args: P.args, **kwargs: P.kwargs) -> FollowUp:
        """Enqueue another job if, and only if, this run succeeds; checked now, durable in the step that ends this job.

        A run that fails, is cancelled or dies enqueues nothing. Follow-ups pass a full queue. Raises
        InvalidArguments, BodyTooLarge. `await` is allowed and not needed.
        """
        message = job.message(*args, **kwargs)
        self._run.follow(message)
        return FollowUp(message.id)

    def progress(self, value: Any) -> Done:
        """Show `value` (anything with a JSON form) as this job's progress, soon; the last one wins.

        Never waits for the store: values that come faster than it keeps them are passed over. `await` is allowed
        and not needed. Raise BodyTooLarge past `max_body` bytes.
        """
        from outlast.core.codec import encode_value

        self._run.note("progress", encode_value(value))
        return Done()


@cache
def _logger() -> logging.Logger:
    from logging import getLogger  # declaring does without it

    return getLogger("outlast.job")


CallNext: TypeAlias = Callable[[], Awaitable[Any]]
"""What a middleware awaits to go on: the next one, and in the end the handler. Returns what that returned."""
Middleware: TypeAlias = Callable[[Context, CallNext], Awaitable[Any]]
"""Around a run: `async def mw(ctx: Context, call_next: CallNext) -> Any`."""
