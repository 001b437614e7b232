"""What a guard, and the link that shares its state through a store, ask of each other."""

from __future__ import annotations

from concurrent.futures import Future
from typing import TYPE_CHECKING, Final, Protocol

from msgspec import Struct

if TYPE_CHECKING:
    from outlast.core.guards.answers import BreakerView, SharedBreaker, Transition
    from outlast.core.guards.policies import Breaker

__all__ = ["FIRST_READ", "GuardSharing", "ProbeAnswer", "SharedGuard"]

FIRST_READ: Final = 5.0
"""The most seconds that the first call of a guard waits for its state. A store that is away answers sooner; one second
was too short to open a store on a busy machine, and each new process then called a dependency that was down."""


class ProbeAnswer(Struct, frozen=True):
    """Whether this process has the one probe of all. at: when its lease ends; if it has not: when to ask again.

    Both are times of `time.monotonic` of this process.
    """

    granted: bool
    at: float


class SharedGuard(Protocol):
    """A guard, as the link sees it. Every method may be called from any thread, and returns at once."""

    @property
    def name(self) -> str:
        """The name, the same in every process."""
        ...

    @property
    def breaker(self) -> Breaker | None:
        """The policy of its breaker; a guard without one is never shared."""
        ...

    def adopt(self, shared: SharedBreaker) -> None:
        """Take over the state that all processes share. Times are those of `time.monotonic` of this process."""
        ...

    def view(self) -> BreakerView:
        """Return the state of this process's breaker with the calls in its window, for a vote."""
        ...


class GuardSharing(Protocol):
    """The link of one process and app to the guards in its store. Guards call it from any thread; it never raises."""

    def start(self, guard: SharedGuard) -> Future[None]:
        """Share this guard from now on. The future is done when its state is adopted, or the store is away.

        A guard calls it once, before its first call, and waits for the future at most FIRST_READ seconds.
        """
        ...

    def tripped(self, name: str) -> None:
        """The guard has opened on its own window: ask the other processes."""
        ...

    def take_probe(self, name: str) -> Future[ProbeAnswer]:
        """Ask for the one probe of all processes. While the store is away, each process has its own.

        Who has it and is gone before it uses it, such as a caller that is cancelled, reports `probe_ended(name, "")`.
        """
        ...

    def renew_probe(self, name: str) -> Future[ProbeAnswer]:
        """Ask for the whole lease again of the probe that `take_probe` has given; not granted: it ends as it would."""
        ...

    def probe_ended(self, name: str, result: Transition) -> None:
        """Report the end of the probe: "closed", "opened" (it failed), or "" (it says nothing: the probe is due)."""
        ...
