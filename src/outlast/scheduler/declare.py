"""The `schedule` decorator: above `@job` or below it, on one handler any number of times."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeVar

from msgspec import Struct

from outlast.core.durations import Duration
from outlast.core.errors import ConfigurationError
from outlast.core.registry import Declaration
from outlast.core.schedule import Misfire, Overlap, Scheduled, Spec, check_schedule_name
from outlast.scheduler.ticks import Ticks

__all__ = ["pending", "scheduling"]

F = TypeVar("F", bound=Callable[..., Any])

_WAITING: Final = "__outlast_schedules__"
"""Where a function keeps its schedules until the job decorator above them takes them."""


class _Wanted(Struct, frozen=True):
    """What one decorator said, until the job is known."""

    spec: Spec
    name: str | None
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]

    def of(self, kind: str) -> Scheduled:
        """Return the schedule of a job; raise ConfigurationError for one that never ticks."""
        name = check_schedule_name(kind if self.name is None else self.name)
        Ticks(self.spec, name)
        return Scheduled(name=name, kind=kind, spec=self.spec, args=self.args, kwargs=self.kwargs)


def scheduling(
    keep: Callable[[Scheduled], None],
    cron: str | None,
    *,
    every: Duration | None,
    tz: str,
    jitter: Duration,
    misfire: Misfire,
    misfire_limit: int,
    overlap: Overlap,
    name: str | None,
    args: Sequence[Any],
    kwargs: Mapping[str, Any] | None,
) -> Callable[[F], F]:
    """Return the decorator, which gives what it was put on back as it is; raise ConfigurationError."""
    spec = Spec(
        cron=cron, every=every, tz=tz, jitter=jitter, misfire=misfire, misfire_limit=misfire_limit, overlap=overlap
    )
    if isinstance(args, str | bytes) or not isinstance(args, Sequence):
        raise ConfigurationError(f"schedule args={args!r}: give the job's arguments in a tuple, such as args=(7,)")
    if kwargs is not None and not isinstance(kwargs, Mapping):
        raise ConfigurationError(f"schedule kwargs={kwargs!r}: give the job's arguments by name, as a dict")
    wanted = _Wanted(spec, name, tuple(args), dict(kwargs or {}))
    Ticks(spec, "H" if name is None else check_schedule_name(name))  # what is wrong is said where it is written

    def decorate(target: F) -> F:
        declaration = getattr(target, "declaration", None)
        if isinstance(declaration, Declaration):
            keep(wanted.of(declaration.kind))
        elif hasattr(target, "__dict__"):
            setattr(target, _WAITING, (wanted, *getattr(target, _WAITING, ())))
        else:
            raise ConfigurationError(f"schedule: {target!r} is no job: put it on a function, or on a job")
        return target

    return decorate


def pending(handler: Callable[..., Any], kind: str) -> list[Scheduled]:
    """Return the schedules that stand below the job decorator, and forget them: another job may be made of it."""
    waiting: tuple[_Wanted, ...] = getattr(handler, "__dict__", {}).pop(_WAITING, ())
    return [wanted.of(kind) for wanted in reversed(waiting)]
