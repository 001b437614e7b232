"""The policies of a guard: frozen values that check themselves. A guard is the policies around one dependency."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import inf
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct, structs

from outlast.core.calls import is_async
from outlast.core.durations import Duration, seconds
from outlast.core.errors import ConfigurationError
from outlast.core.guards.window import MOST_CALLS, Thresholds
from outlast.core.policy import classes_of
from outlast.core.text import shown

__all__ = ["Breaker", "Bulkhead", "Fallback", "RetryBudget", "Timeout", "slow_limit", "with_lease"]

MOST: Final = 1_000_000
"""The highest number of calls, waiting calls or saved retries that a policy takes."""

_LEASE: Final = 10.0
"""The `probe_lease`, in seconds, of a Breaker that names none."""
_LONGER: Final = 1.5
"""By what the lease is longer than the slow limit, where that is longer than `_LEASE`."""

_REFUSED: Final = (BaseException, KeyboardInterrupt, SystemExit, GeneratorExit)


class Timeout(Struct, frozen=True):
    """The longest time, a duration above 0, that one call may take. A call that takes longer raises GuardTimeout.

    A retry is a call of its own; `outlast.deadline` bounds all of them together.
    """

    seconds: float

    if TYPE_CHECKING:

        def __init__(self, seconds: Duration) -> None: ...

    def __post_init__(self) -> None:
        structs.force_setattr(self, "seconds", _above_0(self.seconds, "Timeout(seconds)", "leave the timeout out"))


class RetryBudget(Struct, frozen=True, kw_only=True):
    """How many retries the calls of one guard may have together, so that retries cannot multiply an overload.

    A retry costs 1 when it is decided; a call that succeeds adds `share`. floor: the retries that are there before any
    call has succeeded. most: the highest number that is saved. So of n calls at most `share * n + floor` are retried
    (the retry quota of Finagle and gRPC, there by tokens).
    """

    share: float = 0.1
    floor: int = 10
    most: int = 100

    def __post_init__(self) -> None:
        if not _is_number(self.share) or not 0 <= self.share <= 1:
            raise ConfigurationError(
                f"RetryBudget(share={shown(self.share)}): give the retries that a success adds, 0 to 1, such as 0.1"
            )
        _whole(self.floor, "RetryBudget(floor", 0)
        _whole(self.most, "RetryBudget(most", 1)
        if self.most < self.floor:
            raise ConfigurationError(
                f"RetryBudget(floor={self.floor}, most={self.most}): raise most to {self.floor} or more, or lower floor"
            )
        if self.share == 0 and self.floor == 0:
            raise ConfigurationError(
                "RetryBudget(share=0, floor=0): it refuses each retry: raise share or floor, or give Retry(attempts=1)"
            )


class Breaker(Struct, frozen=True, kw_only=True):
    """When calls to a dependency stop, and when they begin again (the circuit breaker of M. Nygard, "Release It!").

    window: the calls that are judged: a whole number (the last calls) or a duration ("30s", a timedelta or a float of
    seconds). The breaker opens when at least `minimum` calls are in it and `failure_rate` of them failed, or
    `slow_rate` of them took longer than `slow` (a duration; None: the timeout of the guard, if it has one). Calls that
    have not ended count as slow as soon as they are. slow_rate: None for the same as `failure_rate`; failure_rate: None
    to judge slow calls only.

    While it is open no call is made, except one probe `open_for` after it opened, and after each probe that failed. A
    probe that has not ended within `probe_lease` is given to another caller, and what it says later counts for nothing:
    so a guard refuses one that is not longer than `slow`, and lengthens the default where it must. After a probe has
    succeeded, a share of the calls that grows from a tenth to all within `ramp` is made.

    failures: exception classes, or a function that is given the exception or the result of a call and returns whether
    it is a failure; None for the rules in docs. ignore: exception classes that count neither way; they win.
    share: whether processes share the state through the store; quorum: it opens for all when more than this share of
    those with enough calls are open.
    """

    window: int | float = 30.0
    failure_rate: float | None = 0.5
    slow_rate: float | None = None
    slow: float | None = None
    minimum: int = 10
    open_for: float = 5.0
    probe_lease: float = _LEASE
    ramp: float = 10.0
    quorum: float = 0.5
    failures: tuple[type[BaseException], ...] | Callable[[Any], bool] | None = None
    ignore: tuple[type[BaseException], ...] = ()
    share: bool = True

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            window: Duration = ...,
            failure_rate: float | None = ...,
            slow_rate: float | None = ...,
            slow: Duration | None = ...,
            minimum: int = ...,
            open_for: Duration = ...,
            probe_lease: Duration = ...,
            ramp: Duration = ...,
            quorum: float = ...,
            failures: type[BaseException] | Iterable[type[BaseException]] | Callable[[Any], bool] | None = ...,
            ignore: type[BaseException] | Iterable[type[BaseException]] = ...,
            share: bool = ...,
        ) -> None: ...

    def __post_init__(self) -> None:
        self._check_window()
        self._check_rates()
        for name, instead in (("open_for", "such as '5s'"), ("probe_lease", "longer than a call may take")):
            structs.force_setattr(self, name, _above_0(getattr(self, name), f"Breaker({name})", instead))
        structs.force_setattr(self, "ramp", seconds(self.ramp, "Breaker(ramp)"))
        if self.failures is not None and (isinstance(self.failures, type) or not callable(self.failures)):
            structs.force_setattr(self, "failures", classes_of(self.failures, "Breaker", "failures"))
        if is_async(self.failures):
            raise ConfigurationError(
                f"Breaker(failures={shown(self.failures)}): it is async, and its answer would not be awaited: give a "
                "plain function, or exception classes"
            )
        structs.force_setattr(self, "ignore", classes_of(self.ignore, "Breaker", "ignore"))
        if type(self.share) is not bool:
            raise ConfigurationError(
                f"Breaker(share={shown(self.share)}): give True, or False for a breaker of each process"
            )

    def _check_window(self) -> None:
        _whole(self.minimum, "Breaker(minimum", 1)
        if type(self.window) is not int:
            instead = "give a number of calls, such as 100, or a time, such as '30s'"
            structs.force_setattr(self, "window", _above_0(self.window, "Breaker(window)", instead))
            return
        if not 1 <= self.window <= MOST_CALLS:
            raise ConfigurationError(
                f"Breaker(window={shown(self.window)}): give 1 to {MOST_CALLS:,} calls, or a time, such as '30s'"
            )
        if self.minimum > self.window:
            raise ConfigurationError(
                f"Breaker(window={self.window}, minimum={self.minimum}): a window of {self.window} calls never has "
                f"{self.minimum}: lower minimum or widen window"
            )

    def _check_rates(self) -> None:
        for name in ("failure_rate", "slow_rate"):
            rate = getattr(self, name)
            if rate is not None and (not _is_number(rate) or not 0 < rate <= 1):
                raise ConfigurationError(
                    f"Breaker({name}={shown(rate)}): give a share of the calls above 0 and at most 1, such as 0.5"
                )
        if self.failure_rate is None and self.slow_rate is None:
            raise ConfigurationError(
                "Breaker(failure_rate=None, slow_rate=None): it would never open: give one of the rates, or no breaker"
            )
        if self.slow is not None:
            instead = "give the time from which a call is slow, such as '2s'"
            structs.force_setattr(self, "slow", _above_0(self.slow, "Breaker(slow)", instead))
        if not _is_number(self.quorum) or not 0 <= self.quorum < 1:
            raise ConfigurationError(
                f"Breaker(quorum={shown(self.quorum)}): give the share of the processes that must be exceeded, 0 or "
                "more and less than 1, such as 0.5"
            )

    @property
    def thresholds(self) -> Thresholds:
        """The rates at which it opens."""
        slow_rate = self.failure_rate if self.slow_rate is None else self.slow_rate
        assert slow_rate is not None, "one of the rates is given"
        return Thresholds(self.minimum, self.failure_rate, slow_rate)


def slow_limit(breaker: Breaker, timeout: float | None) -> float:
    """Return the seconds from which a call is slow: of the breaker, else the timeout of its guard; inf without both.

    Raise ConfigurationError if the breaker has a `slow_rate` and there is no limit.
    """
    if breaker.slow is not None:
        return breaker.slow
    if timeout is None and breaker.slow_rate is not None:
        raise ConfigurationError(
            f"Breaker(slow_rate={breaker.slow_rate:g}): no call would be slow: give slow=, such as '2s', or the guard "
            "a timeout"
        )
    return inf if timeout is None else timeout


def with_lease(breaker: Breaker, timeout: float | None) -> Breaker:
    """Return the policy with a lease in which each call can end that is not slow; or no probe would ever close it.

    timeout: of its guard. Raise ConfigurationError for a `probe_lease` that is too short, and as `slow_limit` does.
    """
    limit = slow_limit(breaker, timeout)
    if limit == inf or breaker.probe_lease > limit:
        return breaker
    if breaker.probe_lease == _LEASE:
        return structs.replace(breaker, probe_lease=_LONGER * limit)
    raise ConfigurationError(
        f"Breaker(probe_lease={breaker.probe_lease:g}): a call may take {limit:g} s (slow, or else the timeout), and a "
        f"probe of which the lease has ended closes nothing: give more than {limit:g}, such as {_LONGER * limit:g}"
    )


class Bulkhead(Struct, frozen=True):
    """How many calls to a dependency run at once in this process, so that a slow one cannot take all tasks or threads.

    max_wait: the longest time, a duration, that a call waits for its turn (0: it does not wait). max_waiting: how many
    may wait. A call that gets no turn raises BulkheadFull and was not made. First come, first served.
    """

    concurrency: int
    max_wait: float = 1.0
    max_waiting: int = 100

    if TYPE_CHECKING:

        def __init__(self, concurrency: int, *, max_wait: Duration = ..., max_waiting: int = ...) -> None: ...

    def __post_init__(self) -> None:
        _whole(self.concurrency, "Bulkhead(concurrency", 1)
        structs.force_setattr(self, "max_wait", seconds(self.max_wait, "Bulkhead(max_wait)"))
        _whole(self.max_waiting, "Bulkhead(max_waiting", 0)


class Fallback(Struct, frozen=True):
    """What a guarded call returns instead of an error of the classes `on`.

    answer: a value, or a function with the parameters of the call whose result is returned. A value is returned as it
    is, so give a function for one that callers change. Cancellation, exit and interrupt are never answered.
    """

    answer: Any
    on: tuple[type[BaseException], ...] = (Exception,)

    if TYPE_CHECKING:

        def __init__(self, answer: object, *, on: type[Exception] | Iterable[type[Exception]] = ...) -> None: ...

    def __post_init__(self) -> None:
        on = classes_of(self.on, "Fallback", "on")
        if not on or not all(issubclass(each, Exception) for each in on):
            raise ConfigurationError(
                f"Fallback(on={shown(self.on)}): give subclasses of Exception: a cancellation, an exit and an "
                "interrupt are never answered"
            )
        structs.force_setattr(self, "on", on)


def _above_0(value: object, setting: str, instead: str) -> float:
    """Return a duration in seconds. Raise ConfigurationError that names `setting` unless it is above 0."""
    number = seconds(value, setting)
    if number == 0:
        raise ConfigurationError(f"{setting}={shown(value)}: give seconds above 0: {instead}")
    return number


def _whole(value: object, setting: str, least: int) -> None:
    """Raise ConfigurationError that names `setting`, such as "Bulkhead(most", unless `value` is a whole number."""
    if type(value) is not int or not least <= value <= MOST:
        raise ConfigurationError(f"{setting}={shown(value)}): give a whole number, {least} to {MOST:,}")


def _is_number(value: object) -> bool:
    return type(value) in (int, float)
