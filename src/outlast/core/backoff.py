"""Backoff: how long a failed job waits before its next attempt."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Literal, Protocol

from msgspec import Struct, structs

from outlast.core.durations import Duration, seconds
from outlast.core.errors import ConfigurationError

__all__ = ["Backoff", "Constant", "Exponential"]

Jitter = Literal["full", "none"]


class Backoff(Protocol):
    """A rule that returns the seconds to wait after failed attempt number `attempt` (1, 2, ...)."""

    def delay(self, attempt: int, rng: Random) -> float:
        """Return seconds, 0 or more."""
        ...


class Exponential(Struct, frozen=True, kw_only=True):
    """Wait `base * factor ** (attempt - 1)`, at most `cap` (durations), spread by `jitter`.

    Full jitter draws evenly from 0 to that wait (M. Brooker, "Exponential Backoff and Jitter", AWS, 2015), so that
    jobs that failed at the same time are not retried at the same time.
    """

    base: float = 1.0
    cap: float = 300.0
    factor: float = 2.0
    jitter: Jitter = "full"

    if TYPE_CHECKING:

        def __init__(
            self, *, base: Duration = ..., cap: Duration = ..., factor: float = ..., jitter: Jitter = ...
        ) -> None: ...

    def __post_init__(self) -> None:
        for name in ("base", "cap"):
            structs.force_setattr(self, name, seconds(getattr(self, name), f"Exponential({name})"))
        if type(self.factor) not in {int, float} or not (self.cap >= self.base and self.factor >= 1):
            raise ConfigurationError(
                f"Exponential(base={self.base:g}, cap={self.cap:g}, factor={self.factor!r}): "
                "cap must be at least base, factor at least 1"
            )
        if self.jitter not in ("full", "none"):
            raise ConfigurationError(f"Exponential(jitter={self.jitter!r}): give 'full' or 'none'")

    def delay(self, attempt: int, rng: Random) -> float:
        """Return the seconds to wait after failed attempt `attempt`."""
        # A larger exponent would overflow a float; the cap is reached long before.
        exponent = min(attempt - 1, 1000 if self.factor < 1.5 else 64)
        wait = min(self.cap, self.base * self.factor**exponent)
        return rng.uniform(0.0, wait) if self.jitter == "full" else wait


class Constant(Struct, frozen=True):
    """Wait the same time, a duration, after every failed attempt."""

    seconds: float

    if TYPE_CHECKING:

        def __init__(self, seconds: Duration) -> None: ...

    def __post_init__(self) -> None:
        structs.force_setattr(self, "seconds", seconds(self.seconds, "Constant(seconds)"))

    def delay(self, attempt: int, rng: Random) -> float:
        """Return `seconds`."""
        return self.seconds
