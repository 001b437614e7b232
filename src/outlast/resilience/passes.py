"""What a job may do that came through the gate of its queue: make the one probe, or calls that a ramp would refuse."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextvars import ContextVar, copy_context
from typing import Final, ParamSpec, Protocol, TypeVar

from outlast.core.guards.answers import Admission, CallOutcome

__all__ = ["GivenProbe", "Pass", "RampPass", "pass_of", "passes_here", "with_passes"]

P = ParamSpec("P")
R = TypeVar("R")


class Pass(Protocol):
    """The pass of one run for one guard. Used by the calls of this run, from any thread. probes: it is the probe."""

    probes: bool

    @property
    def decided(self) -> bool:
        """Whether a call of the run has used it: the end of the run then says nothing more."""
        ...

    def probe(self, now: float) -> Admission | None:
        """Return the admission of a call to a guard that is open; None: it is not made."""
        ...

    def calls(self) -> None:
        """Take that a call of the run begins in a child process."""
        ...

    def ended(self, admission: Admission, outcome: CallOutcome) -> None:
        """Take the end of a call whose admission `probe` gave."""
        ...

    def end(self, outcome: CallOutcome) -> None:
        """Take what the end of the run says, which decides a probe that no call has used."""
        ...


class RampPass:
    """The run counts against the share of the ramp; its calls need no other share."""

    probes = False
    decided = False

    def probe(self, now: float) -> Admission | None:
        """Refuse: the guard has opened again."""
        return None

    def calls(self) -> None:
        """Do nothing."""

    def ended(self, admission: Admission, outcome: CallOutcome) -> None:
        """Do nothing."""

    def end(self, outcome: CallOutcome) -> None:
        """Do nothing."""


class GivenProbe:
    """The probe of a parent process: this process makes its calls, and tells the parent the outcome of the first.

    Every call is made until one fails: only the parent knows that the guard has closed. begins: called once, when the
    first call begins. tell: called once, with the outcome of the first call that is not neutral. Both are called in the
    thread of that call.
    """

    probes = True

    def __init__(self, begins: Callable[[], None], tell: Callable[[CallOutcome], None]) -> None:
        self.decided = False
        self._begun = False
        self._failed = False
        self._begins = begins
        self._tell = tell

    def probe(self, now: float) -> Admission | None:
        """Return an admission that counts for nothing here."""
        self.calls()
        return None if self._failed else Admission(-1, now, probe=True)

    def calls(self) -> None:
        """Tell that a call begins, at the first one."""
        if not self._begun:
            self._begun = True
            self._begins()

    def ended(self, admission: Admission, outcome: CallOutcome) -> None:
        """Tell the outcome of the first call; make no further one after one that failed."""
        self._failed = self._failed or outcome == "failure"
        if outcome != "neutral" and not self.decided:
            self.decided = True
            self._tell(outcome)

    def end(self, outcome: CallOutcome) -> None:
        """Do nothing: the parent ends it, with the run if no call has."""


_passes: Final[ContextVar[Mapping[str, Pass] | None]] = ContextVar("outlast_passes", default=None)


def pass_of(guard: str) -> Pass | None:
    """Return the pass of the run around this line for a guard, by its name."""
    passes = _passes.get()
    return None if passes is None else passes.get(guard)


def passes_here() -> Mapping[str, Pass] | None:
    """Return the passes of the run around this line."""
    return _passes.get()


def with_passes(passes: Mapping[str, Pass] | None, function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
    """Call a function, whose tasks and threads get these passes, in a copy of this context."""
    context = copy_context()
    context.run(_passes.set, passes)
    return context.run(function, *args, **kwargs)
