"""Why the jobs of a queue wait, in words."""

from __future__ import annotations

import pytest

from outlast.core.guards.record import GuardRecord, GuardRules, Lease
from outlast.core.guards.waits import waits_for

NOW = 1000.0
RULES = GuardRules(interval=5, lease=10, ramp=20)
OPEN = GuardRecord(name="payments", revision=1, open=True, since=NOW - 41, probe_at=NOW + 4, rules=RULES)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({}, "waits for payments: open for 41 s, next probe in 4.0 s"),
        ({"probe_at": NOW}, "waits for payments: open for 41 s, a probe is due"),
        ({"since": NOW + 1}, "waits for payments: open for 0.0 s, next probe in 4.0 s"),
        ({"probe_at": NOW - 1, "probe": Lease("a", NOW + 9)}, "waits for payments: open for 41 s, a probe is running"),
        ({"probe_at": NOW - 9, "probe": Lease("a", NOW - 1)}, "waits for payments: open for 41 s, a probe is due"),
        ({"held": "open"}, "waits for payments: open for 41 s, held open by an operator"),
        ({"open": False}, ""),
        ({"open": False, "held": "closed", "closed_at": NOW}, ""),
        (
            {"open": False, "closed_at": NOW - 10},
            "waits for payments: closed again, 55% of the slots until the ramp ends",
        ),
        ({"open": False, "closed_at": NOW - 20}, ""),
    ],
)
def test_the_state_of_a_guard_in_words(changes: dict[str, object], text: str) -> None:
    fields = {name: getattr(OPEN, name) for name in OPEN.__struct_fields__}
    assert waits_for(["payments"], [GuardRecord(**(fields | changes))], NOW) == text


def test_several_guards_are_told_in_the_order_of_the_needs() -> None:
    other = GuardRecord(name="mail", revision=1, open=True, since=NOW - 120, probe_at=NOW + 1, rules=RULES)
    closed = GuardRecord(name="files", revision=1)
    told = waits_for(["mail", "unused", "files", "payments"], [OPEN, other, closed], NOW)
    assert told == "waits for mail: open for 2 min, next probe in 1.0 s; payments: open for 41 s, next probe in 4.0 s"


def test_a_guard_that_the_queue_does_not_need_is_not_told() -> None:
    assert waits_for([], [OPEN], NOW) == ""
