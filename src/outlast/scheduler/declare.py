"""The `schedule` decorator: above or below `@job`, any number of times on one handler."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeVar

from msgspec import Struct

from outlast.core.durations import Duration
from outlast.core.errors import ConfigurationError
from outlast.core.registry import Declaration
from outlast.core.schedule import Misfire, Overlap, Scheduled, Spec, check_schedule_name
from outlast.declare.signature import read

__all__ = ["Scheduling"]

F = TypeVar("F", bound=Callable[..., Any])

_PENDING: Final = "__outlast_schedules__"
"""The attribute of a function that keeps its schedules until the job decorator above takes them."""


class _DeclaredSchedule(Struct, frozen=True):
    """The arguments of one decorator, until the job is known."""

    spec: Spec
    name: str | None
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]

    def of(self, job: Declaration) -> Scheduled:
        """Return the schedule of a job; raise ConfigurationError if it never ticks or its arguments do not fit."""
        name = check_schedule_name(job.kind if self.name is None else self.name)
        _check(self.spec, name)
        self._check_arguments(name, job)
        return Scheduled(name=name, kind=job.kind, spec=self.spec, args=self.args, kwargs=self.kwargs)

    def _check_arguments(self, name: str, job: Declaration) -> None:
        """Check the names and the number of the arguments; a worker checks the types when it starts."""
        signature = read(job.handler)
        bound = {*signature.names[: len(self.args)], *self.kwargs}
        missing = [each for each in signature.names if each not in bound and each not in signature.defaults]
        unknown = [each for each in self.kwargs if each not in signature.names[len(self.args) :]]
        if missing:
            raise ConfigurationError(
                f"schedule {name!r}: job {job.kind!r} needs {', '.join(missing)}: give args=(...) or kwargs={{...}}"
            )
        if unknown or len(self.args) > len(signature.names):
            by_name = f" and {', '.join(map(str, self.kwargs))} by name" if self.kwargs else ""
            raise ConfigurationError(  # without any value: it may be redacted
                f"schedule {name!r}: job {job.kind!r} takes ({', '.join(signature.names)}), but the schedule gives "
                f"{len(self.args)} by position{by_name}"
            )


class Scheduling(ABC):
    """The base of app and router that has the `schedule` decorator."""

    @abstractmethod
    def _schedule(self, scheduled: Scheduled) -> None:
        """Keep a schedule."""

    def schedule(
        self,
        cron: str | None = None,
        /,
        *,
        every: Duration | None = None,
        tz: str = "UTC",
        jitter: Duration = 0,
        misfire: Misfire = "latest",
        misfire_limit: int = 100,
        overlap: Overlap = "allow",
        name: str | None = None,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Callable[[F], F]:
        """Run a job by the clock: a decorator above or below `@job` that returns its target.

        cron: five fields by the wall clock of zone `tz`, with `H` for a value derived from the name; or every: an
        interval, counted from 1970. jitter: all ticks are delayed by a part of it, derived from the name. misfire:
        which of the ticks that came due while no worker was alive run: none, the latest, or all, at most the newest
        `misfire_limit`. overlap: what a tick does while the previous run has not ended. name: by default the job's
        kind. args, kwargs: the job's arguments, the same for each run. Raise ConfigurationError.
        """
        spec = Spec(
            cron=cron, every=every, tz=tz, jitter=jitter, misfire=misfire, misfire_limit=misfire_limit, overlap=overlap
        )
        if isinstance(args, str | bytes) or not isinstance(args, Sequence):
            raise ConfigurationError(
                f"schedule args= is a {type(args).__name__}: give the job's arguments in a tuple, such as args=(7,)"
            )
        if kwargs is not None and not isinstance(kwargs, Mapping):
            raise ConfigurationError(
                f"schedule kwargs= is a {type(kwargs).__name__}: give the job's arguments by name, as a dict"
            )
        declared = _DeclaredSchedule(spec, name, tuple(args), dict(kwargs or {}))
        _check(spec, "any" if name is None else check_schedule_name(name))  # raises at the decorator's own call

        def decorate(target: F) -> F:
            declaration = getattr(target, "declaration", None)
            if isinstance(declaration, Declaration):
                self._schedule(declared.of(declaration))
            elif hasattr(target, "__dict__"):
                setattr(target, _PENDING, (declared, *getattr(target, _PENDING, ())))
            else:
                raise ConfigurationError(f"schedule: {target!r} is not a job: decorate a function or a job")
            return target

        return decorate

    def _take_schedules(self, job: Declaration) -> None:
        """Keep the schedules below the job decorator; remove them there, as the function may become another job too."""
        pending: tuple[_DeclaredSchedule, ...] = getattr(job.handler, "__dict__", {}).pop(_PENDING, ())
        for declared in pending:
            self._schedule(declared.of(job))


def _check(spec: Spec, name: str) -> None:
    from outlast.scheduler.ticks import Ticks  # imports cronsim

    Ticks(spec, name)
