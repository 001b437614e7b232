"""The breaker of one process: it stops calls to a dependency that fails, probes it, and lets calls through again."""

from __future__ import annotations

from math import inf
from typing import Final

from outlast.core.guards.answers import (
    PROBE_DUE,
    Admission,
    BreakerState,
    BreakerView,
    CallOutcome,
    Held,
    ProbeDue,
    Refusal,
    SharedBreaker,
    Transition,
)
from outlast.core.guards.policies import Breaker, slow_limit
from outlast.core.guards.ramp import Ramp
from outlast.core.guards.window import window_of

__all__ = ["LocalBreaker"]

_UNCOUNTED: Final = -(1 << 63)
"""The mark of a call that is in no window; every window gives higher ones."""
_OUT_OF_ORDER: Final = 10.0
"""Seconds after which no older read of the store can still arrive."""
_SAME_OPENING: Final = 0.5
"""Seconds by which the time of an opening may be wrong on this process's clock."""


class LocalBreaker:
    """The state machine of a Breaker in one process. Times are of one monotonic clock, in seconds; not thread-safe.

    Each admission belongs to a generation, which ends with each change of state; a result counts only in its own. It
    is closed (calls are judged by the window), or open (no call, but one probe at a time), or held by an operator.

    timeout: of the guard, in seconds; the slow limit of a Breaker that names none. Raise ConfigurationError if the
    Breaker judges slow calls and neither is given.
    """

    __slots__ = (
        "_adopted",
        "_adopted_at",
        "_blemished",
        "_clear",
        "_decided",
        "_generation",
        "_held",
        "_held_here",
        "_in_flight",
        "_late",
        "_lease_ends",
        "_open",
        "_policy",
        "_probe",
        "_probe_at",
        "_ramp",
        "_shared_state",
        "_since",
        "_slow",
        "_thresholds",
        "_why",
        "_window",
        "shared",
        "stale",
    )

    def __init__(self, policy: Breaker, now: float, timeout: float | None = None) -> None:
        self._policy = policy
        self._slow = slow_limit(policy, timeout)
        self._thresholds = policy.thresholds
        self._window = window_of(policy.window)
        self._blemished = False  # the window may hold failed or slow calls: only then a call can open it
        self._generation = 0
        self._open = False
        self._clear = True  # closed, without a ramp: every call is admitted
        self._held: Held = ""  # by `hold`, or else by an operator
        self._held_here: Held = ""
        self._shared_state: SharedBreaker | None = None  # the one that was adopted last
        self._since = now
        self._why = ""
        self._ramp = Ramp(policy.ramp)
        self._in_flight: dict[Admission, None] = {}  # the oldest first
        self._late: dict[Admission, int] = {}  # calls longer than the slow limit, with their mark in the window
        self._probe: Admission | None = None
        self._probe_at = inf
        self._lease_ends = -inf  # of the probe, or of the caller that is to get it
        self._adopted = -1  # the generation of the shared state that was adopted last
        self._adopted_at = -inf
        self._decided = (-inf, -inf)  # the begin and the lease of the probe of this process that ended an opening
        self.shared = False
        """Whether it is open because the shared state is: the probe is then the store's to give."""
        self.stale = 0
        """The number of results that came too late to count."""

    def admit(self, now: float) -> Admission | Refusal | ProbeDue:
        """Return the admission of a call, or why it may not be made.

        PROBE_DUE: this caller, and no other within `probe_lease`, is to make the probe; see ProbeDue.
        """
        if self._clear:
            admission = Admission(self._generation, now)
            self._in_flight[admission] = None
            return admission
        if self._held == "open":
            return Refusal(self._policy.open_for, self._why)
        return self._admit_open(now) if self._open else self._admit_share(now)

    def _admit_share(self, now: float) -> Admission | Refusal:
        """Admit as many calls as the ramp permits."""
        if self._ramp.share(now) == 1.0:
            self._clear = True
        elif not self._ramp.admits(now):
            return Refusal(min(1.0, self._ramp.left(now)), "it has just closed and makes only a share of the calls")
        return self._admitted(now)

    def _admit_open(self, now: float) -> Refusal | ProbeDue:
        """Offer the probe to one caller when it is due."""
        if now < self._probe_at:
            return Refusal(self._probe_at - now, self._why)
        if now < self._lease_ends:
            return Refusal(min(self._lease_ends - now, self._policy.open_for), self._why)
        self._drop_probe()
        self._lease_ends = now + self._policy.probe_lease
        return PROBE_DUE

    def _admitted(self, now: float) -> Admission:
        admission = Admission(self._generation, now)
        self._in_flight[admission] = None
        return admission

    def grant_probe(self, now: float, until: float | None = None) -> Admission | Refusal:
        """Return the admission of the probe. The caller has it: from `admit`, and from the store if `shared`.

        until: when the lease of the store ends; None for `probe_lease` from now. A probe that ends later than that
        counts for nothing. If it has closed meanwhile, the admission is that of an ordinary call; a Refusal if it is
        held open, or another probe is out.
        """
        if self._held == "open":
            return Refusal(self._policy.open_for, self._why)
        if not self._open:
            return self._admitted(now)
        if self._probe is not None and now < self._lease_ends:
            return Refusal(min(self._lease_ends - now, self._policy.open_for), self._why)
        self._drop_probe()
        self._lease_ends = now + self._policy.probe_lease if until is None else until
        self._probe = Admission(self._generation, now, probe=True)
        return self._probe

    def is_probe(self, admission: Admission, now: float) -> bool:
        """Whether it is the admission of the probe that is out, and its lease lasts."""
        return admission is self._probe and now < self._lease_ends

    def renew_probe(self, admission: Admission, now: float, until: float | None = None) -> None:
        """Make the lease of the probe that is out longer: until `until`, or for `probe_lease` from now.

        Nothing for an admission that is not, or no longer, the probe's.
        """
        if self.is_probe(admission, now):
            self._lease_ends = max(self._lease_ends, now + self._policy.probe_lease if until is None else until)

    def pass_probe(self, now: float, again_at: float | None = None) -> None:
        """Take PROBE_DUE back: its caller makes no probe, such as because another process has it.

        again_at: when a probe is due again; None for `open_for` from now.
        """
        if self._open and self._probe is None:
            self._lease_ends = -inf
            self._probe_at = max(self._probe_at, now + self._policy.open_for if again_at is None else again_at)

    def end(self, admission: Admission, outcome: CallOutcome, now: float) -> Transition:
        """Count the end of a call; return what it did to the breaker.

        A result of an older generation, of a probe whose lease has ended, or of a call that has ended before changes
        nothing and is counted as `stale`. Neutral gives the place back and moves nothing: the probe is due again. A
        probe that succeeds after the slow limit has failed. Of a probe, report to the shared state what is returned.
        """
        if self._in_flight.pop(admission, 0) is None and admission.generation == self._generation:
            if outcome == "neutral":
                return ""
            failure = outcome == "failure"
            slow = now - admission.started >= self._slow
            self._window.add(now, failure, slow)
            return self._judge(now) if failure or slow or self._blemished else ""
        if admission is self._probe:
            return self._end_probe(admission, outcome, now)
        mark = self._late.pop(admission, _UNCOUNTED)
        if mark == _UNCOUNTED or admission.generation != self._generation:
            self.stale += 1
            return ""
        if outcome != "failure":
            return ""
        self._window.failed(mark)
        return self._judge(now)

    def _end_probe(self, probe: Admission, outcome: CallOutcome, now: float) -> Transition:
        lease_ends = self._lease_ends
        self._probe = None
        self._lease_ends = -inf
        if now >= lease_ends:
            self.stale += 1
            return ""
        if outcome == "neutral":
            return ""
        if outcome == "failure" or now - probe.started >= self._slow:
            self._probe_at = now + self._policy.open_for
            self._why = "the last probe failed"
            return "opened"
        if self.shared:
            self._decided = (probe.started, lease_ends)
        self._close(now, now)
        return "closed"

    def tick(self, now: float) -> Transition:
        """Count the calls in flight that have become slow, and take the probe back when its lease has ended.

        To be called about once a second: a call that never ends is noticed within the slow limit and one tick.
        """
        if self._probe is not None and now >= self._lease_ends:
            self._drop_probe()
        counted = False
        while self._in_flight:
            oldest = next(iter(self._in_flight))
            if now - oldest.started < self._slow:
                break
            del self._in_flight[oldest]
            if oldest.generation == self._generation:
                self._late[oldest] = self._window.add(now, failure=False, slow=True)
                counted = True
            else:
                self._late[oldest] = _UNCOUNTED
        return self._judge(now) if counted else ""

    def _judge(self, now: float) -> Transition:
        """Open if the window passes the thresholds."""
        totals = self._window.totals(now)
        self._blemished = totals.failures > 0 or totals.slow > 0
        why = "" if self._held else self._thresholds.passed(totals)
        if not why:
            return ""
        self.shared = False
        self._go_open(now, now + self._policy.open_for, why)
        return "opened"

    def hold(self, held: Held, now: float) -> Transition:
        """Hold it open or closed by hand until the next `hold`.

        "" gives it back: it follows the shared state again, also where an operator holds that; else it is closed, with
        an empty window, and with a ramp if it was open.
        """
        was_open, shared = self._open, self._shared_state
        self._held_here = held
        self._hold(held or ("" if shared is None else shared.held), now)
        if not self._held and shared is not None and shared.open:
            self._follow_open(shared)
        return self._moved(was_open)

    def _hold(self, held: Held, now: float) -> None:
        was_open = self._open
        self._held = held
        if held == "open":
            self.shared = False
            self._go_open(now, inf, "opened by an operator")
        elif was_open:
            self._close(now, -inf if held else now)
        else:
            self._forget_calls()
            self._begin_ramp(-inf)

    def _moved(self, was_open: bool) -> Transition:
        return "" if self._open is was_open else "opened" if self._open else "closed"

    def adopt(self, state: SharedBreaker, now: float) -> Transition:
        """Follow the shared state; return what that did. One that is older than the last one changes nothing.

        A breaker that opened by itself stays open while the shared one is closed; it closes with the next end of an
        opening that it shares or that is later than its own, and with a reset by hand. If an older state comes again
        and again, the store has lost the newer one: it is followed then, and a breaker that is open goes on by itself.
        """
        lost = state.generation < self._adopted
        if (lost and now - self._adopted_at < _OUT_OF_ORDER) or self._is_decided(state, now):
            return ""
        newer = state.generation > self._adopted
        if newer or lost:
            self._adopted = state.generation
            self._adopted_at = now
        was_open = self._open
        self._shared_state = state
        if not self._held_here and state.held != self._held:
            self._hold(state.held, now)
        if not self._held:
            if state.open:
                self._follow_open(state)
            elif lost:
                self.shared = False
            else:
                self._follow_closed(state, newer, now)
        return self._moved(was_open)

    def _is_decided(self, state: SharedBreaker, now: float) -> bool:
        """Whether the state was read before the store knew of the probe of this process that has ended the opening.

        Once its lease has ended, a store that still says "open" has not taken the result.
        """
        started, until = self._decided
        return state.open and not state.held and _began_before(state, started) and now < until

    def _follow_open(self, state: SharedBreaker) -> None:
        if (
            not self._open
            or not self.shared
            or (self._probe is not None and not _began_before(state, self._probe.started))
        ):
            self._go_open(state.since, state.probe_at, "open for all processes")
            self.shared = True
        self._since = state.since
        self._probe_at = state.probe_at

    def _follow_closed(self, state: SharedBreaker, newer: bool, now: float) -> None:
        closed_at = -inf if state.closed_at is None else state.closed_at
        if self._open:
            ended = closed_at if state.reset_at is None else max(closed_at, state.reset_at)
            if newer and (self.shared or ended >= self._since):
                self._close(now, closed_at if self.shared else ended)
        elif closed_at > self._ramp.closed_at:
            self._begin_ramp(closed_at)

    def _go_open(self, since: float, probe_at: float, why: str) -> None:
        self._drop_probe()
        self._generation += 1
        self._open = True
        self._clear = False
        self._ramp.end()
        self._since = since
        self._probe_at = probe_at
        self._why = why

    def _close(self, now: float, closed_at: float) -> None:
        self._drop_probe()
        self._open = False
        self.shared = False
        self._since = now
        self._why = ""
        self._probe_at = inf
        self._forget_calls()
        self._begin_ramp(closed_at)

    def _begin_ramp(self, closed_at: float) -> None:
        self._ramp.begin(closed_at)
        self._clear = closed_at == -inf

    def _forget_calls(self) -> None:
        self._generation += 1  # the calls in flight have marks of the window that goes
        self._window = window_of(self._policy.window)
        self._blemished = False

    def _drop_probe(self) -> None:
        """Let the probe that is out count for nothing, if there is one, and give its place back."""
        if self._probe is not None:
            self._late[self._probe] = _UNCOUNTED
            self._probe = None
        self._lease_ends = -inf

    def idle(self, now: float) -> bool:
        """Whether nothing is lost when it is dropped: it is closed, without a ramp, not held, and no call is out."""
        if self._open or self._held or self._in_flight or self._late:
            return False
        return self._ramp.share(now) == 1.0

    def view(self, now: float) -> BreakerView:
        """Return what people may see; the window also while it is open, until it closes."""
        totals = self._window.totals(now)
        state: BreakerState = "closed"
        next_probe: float | None = None
        part = 1.0 if self._held else self._ramp.share(now)
        if self._open:
            state = "half-open" if now < self._lease_ends else "open"
            next_probe = None if self._held else max(0.0, self._probe_at - now)
            part = 0.0
        return BreakerView(
            state=state,
            since=self._since,
            next_probe=next_probe,
            calls=totals.calls,
            failures=totals.failures,
            slow=totals.slow,
            in_flight=len(self._in_flight) + len(self._late) + (self._probe is not None),
            share=part,
            stale=self.stale,
            held=self._held,
            why=self._why,
        )


def _began_before(state: SharedBreaker, probe_started: float) -> bool:
    """Whether the opening is the one of the probe; a later one began after it. Generations grow with each probe."""
    return state.since <= probe_started + _SAME_OPENING
