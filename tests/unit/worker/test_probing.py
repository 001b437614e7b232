"""What the end of a run says of a guard that it was to probe."""

from __future__ import annotations

import pytest

from outlast.core.guards.answers import CallOutcome
from outlast.core.message import Fence
from outlast.core.settlement import Finish, Park, Release, Reschedule, Settlement
from outlast.worker.probing import end_passes, probe_outcome
from tests.support.jobs import failure

FENCE = Fence("q.1", "q", 1)
LOST = failure(1)


@pytest.mark.parametrize(
    ("settlement", "outcome"),
    [
        (Finish(FENCE, "succeeded"), "success"),
        (Finish(FENCE, "dead", "attempts", error=LOST), "failure"),
        (Finish(FENCE, "dead", "gave-up", error=LOST), "failure"),
        (Finish(FENCE, "dead", "invalid-arguments", error=LOST), "neutral"),
        (Finish(FENCE, "dead", "kind-missing", error=LOST), "neutral"),
        (Finish(FENCE, "cancelled", "cancelled"), "neutral"),
        (Finish(FENCE, "expired", "expired"), "neutral"),
        (Reschedule(FENCE, 5.0, 2, LOST), "failure"),
        (Reschedule(FENCE, 5.0, 1), "neutral"),
        (Reschedule(FENCE, 5.0, 1, LOST, begun=False), "neutral"),
        (Release(FENCE, 5.0, "waits for payments", guard="payments"), "neutral"),
        (Park(FENCE, 5.0), "neutral"),
    ],
)
def test_the_outcome_of_a_probe_that_called_nothing(settlement: Settlement, outcome: str) -> None:
    assert probe_outcome(settlement) == outcome


class Given:
    """A probe of one guard."""

    probes = True

    def __init__(self, *, decided: bool) -> None:
        self.decided = decided
        self.ends: list[CallOutcome] = []

    def probe(self, now: float) -> None: ...

    def calls(self) -> None: ...

    def ended(self, admission: object, outcome: CallOutcome) -> None: ...

    def end(self, outcome: CallOutcome) -> None:
        self.ends.append(outcome)


@pytest.mark.parametrize(
    ("called", "settlement", "outcome"),
    [
        (True, Reschedule(FENCE, 5.0, 2, LOST), "neutral"),  # it may have failed by the guard that it called
        (False, Reschedule(FENCE, 5.0, 2, LOST), "failure"),
        (True, Finish(FENCE, "succeeded"), "success"),
    ],
)
def test_a_run_that_called_one_of_its_guards(called: bool, settlement: Settlement, outcome: str) -> None:
    passes = [Given(decided=called), Given(decided=False)]
    end_passes(passes, settlement)
    assert [each.ends for each in passes] == [[outcome], [outcome]]
