"""The defaults of Outlast in one table, and the policies that a kind of job may set."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final, Literal

from msgspec import Struct, StructMeta, field, structs

from outlast.core.backoff import Backoff, Exponential
from outlast.core.durations import Duration, seconds
from outlast.core.errors import ConfigurationError
from outlast.core.text import shown

__all__ = ["DEFAULTS", "HEAD_START", "Defaults", "Policy", "Priority", "Retention", "Retry", "classes_of", "seconds"]

Priority = Literal["high", "normal", "low"]


class Defaults(Struct, frozen=True):
    """The values that apply when nothing is declared. Times in seconds, sizes in bytes."""

    lease: float = 10.0
    timeout: float = 300.0
    kill_grace: float = 5.0
    concurrency: int = 100
    threads: int = 10
    attempts: int = 5
    backoff_base: float = 1.0
    backoff_cap: float = 300.0
    drain_grace: float = 30.0
    record_ttl: float = 24 * 3600.0
    records_kept: int = 10_000
    result_ttl: float = 24 * 3600.0
    dead_ttl: float = 30 * 24 * 3600.0
    id_memory: float = 24 * 3600.0
    max_body: int = 1024 * 1024
    head_start: float = 60.0
    park: float = 5.0
    park_cap: float = 300.0
    unrunnable_times: int = 8
    solo_after_crashes: int = 2
    failures_kept: int = 10
    objective: float = 60.0


DEFAULTS: Final = Defaults()

HEAD_START: Final[dict[Priority, float]] = {
    "high": DEFAULTS.head_start,
    "normal": 0.0,
    "low": -DEFAULTS.head_start,
}
"""Seconds by which a priority moves a job ahead of its due time: a fixed number, so a waiting job ages on its own."""

_RENAMED: Final = "Retry(budget=) is now Retry(within=): give within; the old name is removed in the next release"


if TYPE_CHECKING:
    from msgspec import StructMeta as _TakesOldName
else:

    class _TakesOldName(StructMeta):
        """The class of Retry: it takes `budget=`, the old name of `within=`, for one release."""

        def __call__(self, *args: Any, **settings: Any) -> Any:
            if "budget" in settings:
                if "within" in settings:
                    raise ConfigurationError("Retry(budget=, within=): budget is the old name of within: give within")
                warnings.warn(_RENAMED, DeprecationWarning, stacklevel=2)
                settings["within"] = settings.pop("budget")
            return super().__call__(*args, **settings)


class Retry(Struct, frozen=True, kw_only=True, metaclass=_TakesOldName):
    """When a failed run of a job, or a failed call of a guard, is repeated.

    attempts: the total number of runs, 1 or more. retry_on, give_up_on: exception classes; give_up_on wins. within: a
    duration from the time the job was first due, or from the begin of the call; no retry is scheduled beyond it (a
    snooze is not a retry). budget: the old name of `within`, with a DeprecationWarning.
    """

    attempts: int = DEFAULTS.attempts
    backoff: Backoff = field(default_factory=lambda: Exponential(base=DEFAULTS.backoff_base, cap=DEFAULTS.backoff_cap))
    retry_on: tuple[type[BaseException], ...] = (Exception,)
    give_up_on: tuple[type[BaseException], ...] = ()
    within: float | None = None

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            attempts: int = ...,
            backoff: Backoff = ...,
            retry_on: type[BaseException] | Iterable[type[BaseException]] = ...,
            give_up_on: type[BaseException] | Iterable[type[BaseException]] = ...,
            within: Duration | None = ...,
            budget: Duration | None = ...,
        ) -> None: ...

    def __post_init__(self) -> None:
        if type(self.attempts) is not int or self.attempts < 1:
            raise ConfigurationError(
                f"Retry(attempts={self.attempts!r}): attempts includes the first run: give a whole number, 1 or more"
            )
        if not callable(getattr(self.backoff, "delay", None)):
            raise ConfigurationError(
                f"Retry(backoff={self.backoff!r}): give Exponential(...), Constant(...) or an object with their delay()"
            )
        for name in ("retry_on", "give_up_on"):
            structs.force_setattr(self, name, classes_of(getattr(self, name), "Retry", name))
        if self.within is not None:
            structs.force_setattr(self, "within", seconds(self.within, "Retry(within)"))
            if self.within == 0:
                raise ConfigurationError("Retry(within=0): give seconds above 0, or None for no limit")

    @property
    def budget(self) -> float | None:
        """The old name of `within`; removed in the next release."""
        warnings.warn(_RENAMED, DeprecationWarning, stacklevel=2)
        return self.within


def classes_of(value: object, owner: str, setting: str) -> tuple[type[BaseException], ...]:
    """Return one or several exception classes as a tuple: any other value would fail only when a call fails.

    Raise ConfigurationError that names `setting` of the policy `owner`.
    """
    several = tuple(value) if isinstance(value, tuple | list | set | frozenset) else (value,)
    classes = tuple(each for each in several if isinstance(each, type) and issubclass(each, BaseException))
    if len(classes) < len(several):
        raise ConfigurationError(
            f"{owner}({setting}={shown(value)}): give exception classes, such as (ConnectionError,)"
        )
    return classes


class Policy(Struct, frozen=True, kw_only=True):
    """The input of `decide` for a kind of job. Times in seconds; timeout None: no limit."""

    retry: Retry = field(default_factory=Retry)
    timeout: float | None = DEFAULTS.timeout
    result_ttl: float = DEFAULTS.result_ttl


class Retention(Struct, frozen=True, kw_only=True):
    """How long ended jobs are kept. All are durations except `records` and `results`.

    records: the most ended jobs without a result that a queue keeps. A job with a result is kept as long as the result
    (`Policy.result_ttl`), and does not count there: results, None for as many as `records`, bounds them; those whose
    time ends first go first. An id is remembered for `id_memory` after acceptance, also when its record is removed.
    """

    record_ttl: float = DEFAULTS.record_ttl
    records: int = DEFAULTS.records_kept
    dead_ttl: float = DEFAULTS.dead_ttl
    id_memory: float = DEFAULTS.id_memory
    results: int | None = None

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            record_ttl: Duration = ...,
            records: int = ...,
            dead_ttl: Duration = ...,
            id_memory: Duration = ...,
            results: int | None = ...,
        ) -> None: ...

    def __post_init__(self) -> None:
        for name in ("record_ttl", "dead_ttl", "id_memory"):
            structs.force_setattr(self, name, seconds(getattr(self, name), f"Retention({name})"))
        for name in ("records", "results"):
            value = getattr(self, name)
            if name == "results" and value is None:
                continue
            if type(value) is not int or not 0 <= value <= 2**53:
                raise ConfigurationError(f"Retention({name}={shown(value)}): give a whole number, 0 or more")

    @property
    def results_kept(self) -> int:
        """The most ended jobs with a result that a queue keeps."""
        return self.records if self.results is None else self.results
