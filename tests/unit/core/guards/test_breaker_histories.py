"""The breaker on random histories: beside a naive model, and with a shared state that says anything at any time."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from outlast.core.guards.answers import PROBE_DUE, Admission, CallOutcome, Refusal, SharedBreaker
from outlast.core.guards.breaker import LocalBreaker
from outlast.core.guards.policies import Breaker

OPEN_FOR, LEASE, SLOW = 5.0, 7.0, 3.0
OUTCOMES: tuple[CallOutcome, ...] = ("success", "failure", "neutral")
pauses = st.sampled_from([0.0, 0.5, 1.0, 3.0, 5.0, 7.0])


class Call:
    """A call as the model knows it; `counted` is its place in the list of the calls that are judged."""

    def __init__(self, admission: Admission, opening: int, started: float) -> None:
        self.admission, self.opening, self.started = admission, opening, started
        self.counted: list[Any] | None = None
        self.hung = False


class Model(RuleBasedStateMachine):
    """What the docstrings of LocalBreaker say, in lists, for one process and a window of the last 6 calls."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 100.0
        self.opening = 0  # grows with each change of state
        self.open = False
        self.held = ""
        self.judged: list[list[Any]] = []  # [failed, slow] of each call since it closed
        self.calls: list[Call] = []
        self.askers = 0  # callers that were told PROBE_DUE and have done nothing yet
        self.probe: Call | None = None
        self.probe_at = self.taken_until = self.closed_at = float("-inf")
        self.stale = 0

    @initialize(ramp=st.sampled_from([0.0, 4.0]), rate=st.sampled_from([0.5, 1.0]))
    def begin(self, ramp: float, rate: float) -> None:
        self.ramp, self.rate = ramp, rate
        self.breaker = LocalBreaker(
            Breaker(
                window=6,
                minimum=3,
                failure_rate=rate,
                slow=SLOW,
                open_for=OPEN_FOR,
                probe_lease=LEASE,
                ramp=ramp,
            ),
            self.now,
        )

    @rule(number=st.integers(1, 4))
    def admit_several(self, number: int) -> None:
        for _ in range(number):
            self.admit()

    @rule()
    def hang(self) -> None:
        self.now += SLOW
        self.tick()

    @rule(pause=pauses)
    def wait(self, pause: float) -> None:
        self.now += pause

    @rule()
    def admit(self) -> None:
        answer = self.breaker.admit(self.now)
        if self.held == "open":
            assert isinstance(answer, Refusal)
        elif not self.open:
            ramps = not self.held and self.now - self.closed_at < self.ramp
            assert isinstance(answer, Admission) or (ramps and isinstance(answer, Refusal))
            if isinstance(answer, Admission):
                self.calls.append(Call(answer, self.opening, self.now))
        elif self.now < self.probe_at or self.now < self.taken_until:
            assert isinstance(answer, Refusal)
            assert 0 < answer.retry_after <= max(OPEN_FOR, LEASE)
        else:
            assert answer is PROBE_DUE
            self.askers += 1
            self.probe = None
            self.taken_until = self.now + LEASE

    @precondition(lambda self: self.askers)
    @rule()
    def grant(self) -> None:
        self.askers -= 1
        answer = self.breaker.grant_probe(self.now)
        if self.held == "open" or (self.probe is not None and self.now < self.taken_until):
            assert isinstance(answer, Refusal)
            return
        assert isinstance(answer, Admission)
        call = Call(answer, self.opening, self.now)
        self.calls.append(call)
        assert answer.probe is self.open
        if self.open:
            self.probe = call
            self.taken_until = self.now + LEASE

    @precondition(lambda self: self.askers)
    @rule(later=pauses)
    def pass_on(self, later: float) -> None:
        self.askers -= 1
        self.breaker.pass_probe(self.now, self.now + later)
        if self.open and self.probe is None:
            self.taken_until = float("-inf")
            self.probe_at = max(self.probe_at, self.now + later)

    @precondition(lambda self: self.calls)
    @rule(data=st.data(), outcome=st.sampled_from(OUTCOMES))
    def end(self, data: st.DataObject, outcome: CallOutcome) -> None:
        call = self.calls.pop(data.draw(st.integers(0, len(self.calls) - 1)))
        change = self.breaker.end(call.admission, outcome, self.now)
        expected = ""
        if call is self.probe:
            expected = self._end_probe(call, outcome)
        elif call.admission.probe or call.opening != self.opening:
            self.stale += 1
        elif outcome != "neutral":
            if call.counted is None:
                self.judged.append([outcome == "failure", self.now - call.started >= SLOW])
                expected = self._judge()
            elif outcome == "failure":
                call.counted[0] = True
                expected = self._judge()
        assert change == expected
        assert self.breaker.end(call.admission, outcome, self.now) == ""
        self.stale += 1

    def _end_probe(self, call: Call, outcome: CallOutcome) -> str:
        self.probe = None
        lapsed = self.now >= self.taken_until
        self.taken_until = float("-inf")
        if lapsed:
            self.stale += 1
            return ""
        if outcome == "neutral":
            return ""
        if outcome == "failure" or self.now - call.started >= SLOW:
            self.probe_at = self.now + OPEN_FOR
            return "opened"
        self._closed(ramps=True)
        return "closed"

    def _judge(self) -> str:
        window = self.judged[-6:]
        bad = max(sum(call[0] for call in window), sum(call[1] for call in window))
        if self.held or len(window) < 3 or bad / len(window) < self.rate:
            return ""
        self._opened(self.now + OPEN_FOR)
        return "opened"

    def _opened(self, probe_at: float) -> None:
        self.open = True
        self.opening += 1
        self.probe_at, self.taken_until, self.probe = probe_at, float("-inf"), None

    def _closed(self, ramps: bool) -> None:
        self.open = False
        self.opening += 1
        self.probe, self.judged = None, []
        self.closed_at = self.now if ramps else float("-inf")

    @rule()
    def tick(self) -> None:
        if self.probe is not None and self.now >= self.taken_until:
            self.probe = None
        counted = False
        for call in self.calls:
            if self.now - call.started >= SLOW and not call.hung and not call.admission.probe:
                call.hung = True
                if call.opening == self.opening:
                    call.counted = [False, True]
                    self.judged.append(call.counted)
                    counted = True
        assert self.breaker.tick(self.now) == (self._judge() if counted else "")

    @rule(held=st.sampled_from(["", "", "open", "closed"]))
    def hold(self, held: Any) -> None:
        was_open = self.open
        self.held = held
        if held == "open":
            self._opened(float("inf"))
        elif was_open:
            self._closed(ramps=not held)
        else:
            self.judged, self.closed_at = [], float("-inf")
            self.opening += 1
        change = self.breaker.hold(held, self.now)
        assert change == ("" if was_open == self.open else "opened" if self.open else "closed")

    @invariant()
    def the_view_is_what_the_model_has(self) -> None:
        view = self.breaker.view(self.now)
        state = "closed" if not self.open else "half-open" if self.now < self.taken_until else "open"
        assert (view.state, view.held, view.stale) == (state, self.held, self.stale)
        window = self.judged[-6:]
        assert (view.calls, view.failures, view.slow) == (
            len(window),
            sum(call[0] for call in window),
            sum(call[1] for call in window),
        )
        assert view.in_flight == len(self.calls)
        if self.open and not self.held:
            assert view.next_probe == max(0.0, self.probe_at - self.now)


def test_it_does_what_the_model_does() -> None:
    run_state_machine_as_test(Model, settings=settings(max_examples=100, stateful_step_count=50))


steps = st.lists(
    st.one_of(
        st.tuples(st.just("wait"), pauses),
        st.tuples(st.sampled_from(["admit", "grant", "pass", "tick"]), st.just(0)),
        st.tuples(st.just("end"), st.sampled_from(OUTCOMES)),
        st.tuples(
            st.just("adopt"),
            st.builds(
                SharedBreaker,
                generation=st.integers(0, 6),
                open=st.booleans(),
                since=st.floats(0, 60),
                probe_at=st.floats(0, 60),
                held=st.sampled_from(["", "", "", "open", "closed"]),
                closed_at=st.none() | st.floats(0, 60),
            ),
        ),
    ),
    max_size=60,
)


@settings(max_examples=200)
@given(steps)
def test_there_is_never_more_than_one_live_probe_whatever_the_shared_state_says(history: list[tuple[str, Any]]) -> None:
    breaker = LocalBreaker(Breaker(minimum=2, probe_lease=LEASE, ramp=0), 0.0, SLOW)
    now = 0.0
    out: list[tuple[Admission, float]] = []
    probes: list[tuple[Admission, float]] = []  # granted and not ended, and not of an opening that has ended
    for step, value in history:
        before = breaker.view(now)
        if step == "wait":
            now += value
        elif step == "admit":
            answer = breaker.admit(now)
            if isinstance(answer, Admission):
                assert before.state == "closed"
                out.append((answer, now))
        elif step == "grant":
            answer = breaker.grant_probe(now)
            if isinstance(answer, Admission):
                assert answer.probe == (before.state != "closed")
                out.append((answer, now))
                probes += [(answer, now)] if answer.probe else []
        elif step == "pass":
            breaker.pass_probe(now)
        elif step == "tick":
            breaker.tick(now)
        elif step == "end" and out:
            admission, _ = out.pop(0)
            breaker.end(admission, value, now)
            probes = [each for each in probes if each[0] is not admission]
            if value == "neutral" or breaker.stale > before.stale:
                after = breaker.view(now)
                assert (after.calls, after.failures, after.slow) == (before.calls, before.failures, before.slow)
                assert (after.state == "closed") == (before.state == "closed")
                assert (after.since, after.next_probe) == (before.since, before.next_probe)
        elif step == "adopt":
            breaker.adopt(value, now)
        view = breaker.view(now)
        if view.state == "closed" or view.held or (step == "adopt" and view.state == "open"):
            probes = []
        probes = [each for each in probes if now - each[1] < LEASE]
        assert len(probes) <= 1
        assert view.in_flight == len(out)
        assert 0.0 <= view.share <= 1.0
