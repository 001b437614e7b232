"""What the jobs of an app declare of exchanges: their bindings, and the checks that need all declarations."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

from msgspec import Struct, field

from outlast.core.errors import ConfigurationError
from outlast.core.exchanges.values import Binding, Exchange, HeaderValue
from outlast.core.policy import Priority

__all__ = ["BoundJob", "DeclaredBinding", "EventParameter", "check_one_kind", "settled_bindings"]


class DeclaredBinding(Struct, frozen=True):
    """Which events of an exchange a job gets: `@shop.job(on=...)`. `exchange.binding(...)` makes it."""

    exchange: Exchange
    key: str = ""
    arguments: Mapping[str, HeaderValue] = field(default_factory=dict)


class EventParameter(Struct, frozen=True):
    """The argument of a handler that is the event. redacted: tells whether it must not be shown; resolves its type."""

    name: str
    redacted: Callable[[], bool]


class BoundJob(Protocol):
    """A kind of job, as far as its bindings go."""

    @property
    def kind(self) -> str:
        """The name of the kind."""
        ...

    @property
    def wire(self) -> str:
        """The kind on the wire."""
        ...

    @property
    def queue(self) -> str:
        """The queue of its jobs."""
        ...

    @property
    def on(self) -> tuple[DeclaredBinding, ...]:
        """Its bindings."""
        ...

    @property
    def event(self) -> EventParameter | None:
        """The argument that is the event; None if it has no bindings."""
        ...

    @property
    def aliases(self) -> tuple[str, ...]:
        """Former names of the kind."""
        ...

    @property
    def priority(self) -> Priority:
        """The priority of its jobs."""
        ...

    @property
    def expires(self) -> float | None:
        """The seconds after which a job that has not begun expires."""
        ...


def check_one_kind(job: BoundJob, others: Iterable[BoundJob]) -> None:
    """Raise ConfigurationError if another kind of the job's queue is bound to one of its exchanges.

    A queue gets one copy of an event, so that its exchange and its queue must tell the kind.
    """
    bound = {each.exchange.name for each in job.on}
    for other in others:
        both = {each.exchange.name for each in other.on} & bound
        if both and other.queue == job.queue and other.kind != job.kind:
            raise ConfigurationError(
                f"jobs {other.kind!r} and {job.kind!r} of queue {job.queue!r} are both bound to exchange "
                f"{min(both)!r}, and a queue gets one copy of an event: give one of them a queue of its own"
            )


def settled_bindings(jobs: Iterable[BoundJob], exchanges: Mapping[str, Exchange], app: str) -> tuple[Binding, ...]:
    """Return the bindings of all jobs; raise ConfigurationError for an exchange that the app does not declare so."""
    settled: list[Binding] = []
    for job in jobs:
        for each in job.on:
            name = each.exchange.name
            if exchanges.get(name) != each.exchange:
                raise ConfigurationError(
                    f"job {job.kind!r} is bound to exchange {name!r} of another app or router: declare it in this app "
                    f"with exchange({name!r}, type={each.exchange.type!r}), or include its router"
                )
            assert job.event is not None
            settled.append(
                Binding(
                    exchange=name,
                    queue=job.queue,
                    kind=job.wire,
                    parameter=job.event.name,
                    key=each.key,
                    arguments=each.arguments,
                    app=app,
                    priority=job.priority,
                    expires=job.expires,
                    redacted=job.event.redacted(),
                    aliases=job.aliases,
                )
            )
    return tuple(settled)
