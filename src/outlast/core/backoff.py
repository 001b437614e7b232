"""How long a failed job waits before its next attempt."""

from __future__ import annotations

from random import Random
from typing import Literal, Protocol

from msgspec import Struct

from outlast.core.errors import ConfigurationError

__all__ = ["Backoff", "Constant", "Exponential"]

Jitter = Literal["full", "none"]


class Backoff(Protocol):
    """A rule that gives the seconds to wait after failed attempt number `attempt` (1, 2, ...)."""

    def delay(self, attempt: int, rng: Random) -> float:
        """Return seconds, 0 or more."""
        ...


class Exponential(Struct, frozen=True, kw_only=True):
    """Wait `base * factor ** (attempt - 1)` seconds, at most `cap`, spread by `jitter`.

    Full jitter draws evenly from 0 to that wait (M. Brooker, "Exponential Backoff and Jitter", AWS, 2015), so that
    jobs which failed together do not come back together.
    """

    base: float = 1.0
    cap: float = 300.0
    factor: float = 2.0
    jitter: Jitter = "full"

    def __post_init__(self) -> None:
        if not (self.base >= 0 and self.cap >= self.base and self.factor >= 1):
            raise ConfigurationError(
                f"Exponential(base={self.base}, cap={self.cap}, factor={self.factor}): "
                "base must be 0 or more, cap at least base, factor at least 1"
            )

    def delay(self, attempt: int, rng: Random) -> float:
        """Return the seconds to wait after failed attempt `attempt`."""
        exponent = min(
            attempt - 1, 1000 if self.factor < 1.5 else 64
        )  # beyond this a float overflows, the cap long met
        wait = min(self.cap, self.base * self.factor**exponent)
        return rng.uniform(0.0, wait) if self.jitter == "full" else wait


class Constant(Struct, frozen=True):
    """Wait the same number of seconds after every failed attempt."""

    seconds: float

    def __post_init__(self) -> None:
        if not self.seconds >= 0:
            raise ConfigurationError(f"Constant(seconds={self.seconds}): seconds must be 0 or more")

    def delay(self, attempt: int, rng: Random) -> float:
        """Return `seconds`."""
        return self.seconds
