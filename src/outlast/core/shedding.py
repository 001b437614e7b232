"""Which requests an overloaded server refuses: by class, from the requests in flight and the lag of its event loop."""

from __future__ import annotations

from collections.abc import Callable, Mapping, MutableMapping
from math import inf
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

from msgspec import Struct, structs

from outlast.core.calls import is_async
from outlast.core.durations import Duration, seconds
from outlast.core.errors import ConfigurationError
from outlast.core.text import shown

__all__ = [
    "CLASSES",
    "LONGEST_WAIT",
    "ClassLimit",
    "RequestClass",
    "RequestLoad",
    "Shed",
    "Shedding",
    "health_first",
    "shedding",
]

RequestClass = Literal["critical", "normal", "background"]
Shedding = Literal["", "in-flight", "lag"]
"""Which limit refuses a request; "": none."""

CLASSES: Final[tuple[RequestClass, ...]] = get_args(RequestClass)
IN_FLIGHT_PERCENT: Final[dict[RequestClass, int]] = {"critical": 100, "normal": 90, "background": 50}
"""Of `max_in_flight`: up to where each class is served; the first request always is."""
LAG_SHARES: Final[dict[RequestClass, float]] = {"critical": inf, "normal": 1.0, "background": 0.5}
"""Of `max_lag`: from where each class is refused."""

LONGEST_WAIT: Final = 60.0
"""Seconds: no refused client is told to wait longer."""
_FIRST_MEAN: Final = 1.0
"""Seconds that a request takes, as long as none has ended."""
_SAMPLES: Final = 32
"""The mean time of a request follows about this many requests."""
_MOST: Final = 1_000_000
_LEAST_LAG: Final = 0.01
_HEALTH: Final = ("/health", "/healthz", "/livez", "/readyz", "/startupz")


def health_first(scope: Mapping[str, Any]) -> RequestClass:
    """Return "critical" for a path that ends with /health, /healthz, /livez, /readyz or /startupz, else "normal"."""
    return "critical" if scope["path"].endswith(_HEALTH) else "normal"


class ClassLimit(Struct, frozen=True, gc=False):
    """Up to where one class is served. in_flight: the most requests of all classes; lag: seconds."""

    of: RequestClass
    in_flight: float
    lag: float


class Shed(Struct, frozen=True, kw_only=True):
    """When one process refuses requests, so that those it accepts are served in time (load shedding, as in the
    "Handling Overload" chapter of "Site Reliability Engineering").

    max_in_flight: the most requests at once, 1 to 1,000,000; None for no limit. max_lag: a duration from 10 ms, the
    most that callbacks of the event loop may come too late; None for no limit. classes: a function that is given the
    ASGI scope and returns the class of a request, "critical", "normal" or "background"; None for `health_first`.

    Of `max_in_flight`, "normal" requests get 90% and "background" ones 50%, rounded down, at least one. Of `max_lag`,
    "background" requests get 50%, and "critical" ones are not refused for lag. Raise ConfigurationError.
    """

    max_in_flight: int | None = None
    max_lag: float | None = None
    classes: Callable[[MutableMapping[str, Any]], RequestClass] | None = None

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            max_in_flight: int | None = ...,
            max_lag: Duration | None = ...,
            classes: Callable[[MutableMapping[str, Any]], RequestClass] | None = ...,
        ) -> None: ...

    def __post_init__(self) -> None:
        if self.max_in_flight is None and self.max_lag is None:
            raise ConfigurationError("Shed(): it would refuse nothing: give max_in_flight, max_lag or both")
        if self.max_in_flight is not None and (
            type(self.max_in_flight) is not int or not 1 <= self.max_in_flight <= _MOST
        ):
            raise ConfigurationError(
                f"Shed(max_in_flight={shown(self.max_in_flight)}): give a whole number of requests, 1 to {_MOST:,}, or "
                "None for no limit"
            )
        if self.max_lag is not None:
            lag = seconds(self.max_lag, "Shed(max_lag)")
            if lag < _LEAST_LAG:
                raise ConfigurationError(
                    f"Shed(max_lag={shown(self.max_lag)}): give '10ms' or more, such as '200ms': a timer is not more "
                    "exact; or None for no limit"
                )
            structs.force_setattr(self, "max_lag", lag)
        _check_classes(self.classes)

    @property
    def limits(self) -> dict[RequestClass, ClassLimit]:
        """The limit of each class."""
        lag = inf if self.max_lag is None else self.max_lag
        most = self.max_in_flight
        return {
            each: ClassLimit(
                each, inf if most is None else max(1, most * IN_FLIGHT_PERCENT[each] // 100), lag * LAG_SHARES[each]
            )
            for each in CLASSES
        }


def shedding(limit: ClassLimit, in_flight: int, lag: float) -> Shedding:
    """Return which limit refuses one more request. in_flight: without it; lag: seconds."""
    if in_flight >= limit.in_flight:
        return "in-flight"
    return "lag" if lag >= limit.lag else ""


class RequestLoad(Struct, gc=False):
    """The requests of one event loop. mean: the seconds that a request takes, once one has ended."""

    in_flight: int = 0
    mean: float = _FIRST_MEAN
    ended: int = 0
    told: dict[RequestClass, float] = {}
    """By class: until when the last refused client was told to wait."""

    def end(self, took: float) -> None:
        """One that was in flight has ended after `took` seconds; more than LONGEST_WAIT count as that."""
        self.in_flight -= 1
        if self.ended < _SAMPLES:
            self.ended += 1
        self.mean += ((took if took < LONGEST_WAIT else LONGEST_WAIT) - self.mean) / self.ended

    def refuse(self, limit: ClassLimit, lag: float, now: float) -> float:
        """Return the seconds, at most LONGEST_WAIT, after which a refused client may come again.

        By the law of J. Little a place becomes free every `mean / in_flight` seconds. The client waits until so many
        have become free that it gets one, and behind the others of its class that were refused before it and have not
        come again. Clients wait for whole seconds, so no more of them are sent into one second than there are places.
        """
        step = max(1.0, self.mean) / max(1.0, min(self.in_flight, limit.in_flight))
        if self.in_flight >= limit.in_flight:
            first = now + (self.in_flight - limit.in_flight) * self.mean / self.in_flight
        else:  # for lag: those in flight hold the loop up
            first = now + self.mean + lag
        until = min(max(first, self.told.get(limit.of, 0.0)) + step, now + LONGEST_WAIT)
        self.told[limit.of] = until
        return until - now


def _check_classes(classes: object) -> None:
    """Raise ConfigurationError unless it is None or a plain function."""
    if classes is None:
        return
    if not callable(classes) or isinstance(classes, type):
        raise ConfigurationError(
            f"Shed(classes={shown(classes)}): give a function of the ASGI scope that returns 'critical', 'normal' or "
            "'background'"
        )
    if is_async(classes):
        raise ConfigurationError(f"Shed(classes={shown(classes)}): give a plain 'def': nothing awaits it")
