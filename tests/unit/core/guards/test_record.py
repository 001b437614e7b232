"""The shared state of a guard: each transition by example, and what no sequence of them may break."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from outlast.core.guards.record import (
    COMMANDS,
    MOST_VOTES,
    ROUND,
    SLACK,
    STALE_ROUND,
    GuardCommand,
    GuardRecord,
    GuardRules,
    GuardsView,
    Lease,
    ProbeOutcome,
    Vote,
    answered,
    asked,
    commanded,
    deciding,
    legible,
    probe_due,
    probe_ended,
    probe_renewed,
    rebased,
    state_of,
    tallied,
    took_probe,
    waiting_for,
)

NOW = 1000.0
RULES = GuardRules(interval=5, lease=10, ramp=20, minimum=10, failure_rate=0.5, slow_rate=0.8, quorum=0.5)
EMPTY = GuardRecord(name="payments")
BAD = Vote("a", open=True, calls=20, failures=20)


def good(voter: str, calls: int = 20) -> Vote:
    return Vote(voter, calls=calls)


def opened(now: float = NOW) -> GuardRecord:
    """Return a record that a vote opened at `now`."""
    return tallied(asked(EMPTY, BAD, now - ROUND, RULES), now)


def taken(holder: str = "a.1") -> GuardRecord:
    """Return a record whose probe `holder` took as soon as it was due."""
    record = took_probe(opened(), holder, NOW + 5)
    assert record is not None
    return record


# The vote


def test_who_asks_begins_a_round_with_its_vote_and_rules() -> None:
    record = asked(EMPTY, BAD, NOW, RULES)
    assert (record.votes, record.asked_at, record.rules) == ((BAD,), NOW, RULES)
    assert (record.revision, record.generation, record.open) == (1, 0, False)
    assert asked(structs.replace(EMPTY, rules=RULES), BAD, NOW).rules == RULES


def test_who_asks_during_a_round_joins_it() -> None:
    first = asked(EMPTY, BAD, NOW, RULES)
    second = asked(first, Vote("b", open=True), NOW + 0.5, GuardRules())
    assert [vote.voter for vote in second.votes] == ["a", "b"]
    assert (second.asked_at, second.rules, second.revision) == (NOW, RULES, 2)
    assert asked(second, Vote("b", open=True), NOW + 0.6) is second


def test_the_vote_of_a_process_that_opens_after_its_answer_is_replaced() -> None:
    record = answered(asked(EMPTY, BAD, NOW, RULES), good("b"))
    again = asked(record, Vote("b", open=True, calls=9), NOW + 0.5)
    assert again.votes == (BAD, Vote("b", open=True, calls=9))


def test_a_round_that_no_process_has_counted_is_forgotten() -> None:
    left = asked(EMPTY, BAD, NOW, RULES)
    assert [vote.voter for vote in asked(left, Vote("b", True), NOW + STALE_ROUND - 0.1).votes] == ["a", "b"]
    again = asked(left, Vote("b", True), NOW + STALE_ROUND)
    assert (again.votes, again.asked_at) == ((Vote("b", True),), NOW + STALE_ROUND)


@pytest.mark.parametrize("record", [opened(), commanded(EMPTY, "close", NOW), commanded(EMPTY, "open", NOW)])
def test_nobody_asks_about_what_is_open_or_held(record: GuardRecord) -> None:
    assert asked(record, BAD, NOW + 9) is record


def test_a_process_answers_once_and_only_in_a_round() -> None:
    assert not waiting_for(EMPTY, "b")
    assert answered(EMPTY, good("b")) is EMPTY
    record = asked(EMPTY, BAD, NOW)
    assert (waiting_for(record, "a"), waiting_for(record, "b")) == (False, True)
    record = answered(record, good("b"))
    assert record.votes == (BAD, good("b"))
    assert not waiting_for(record, "b")
    assert answered(record, good("b", 99)) is record


def test_at_most_so_many_votes_are_kept_and_then_counted_at_once() -> None:
    record = asked(EMPTY, BAD, NOW)
    for number in range(MOST_VOTES - 1):
        assert tallied(record, NOW) is record
        record = answered(record, good(f"{number}"))
    assert len(record.votes) == MOST_VOTES
    assert not waiting_for(record, "late")
    assert answered(record, good("late")) is record
    assert asked(record, Vote("late", True), NOW) is record
    assert asked(record, Vote("0", True), NOW).votes[-1] == Vote("0", True)
    assert tallied(record, NOW).asked_at is None


def test_a_round_ends_after_its_time() -> None:
    record = answered(asked(EMPTY, BAD, NOW, RULES), Vote("b", True, 10, 10))
    assert tallied(record, NOW + ROUND - 0.01) is record
    after = tallied(record, NOW + ROUND)
    assert (after.open, after.since, after.probe_at) == (True, NOW + ROUND, NOW + ROUND + 5)
    assert (after.generation, after.revision, after.asked_at) == (1, 3, None)
    assert [vote.voter for vote in after.votes] == ["a", "b"]
    assert tallied(after, NOW + 9) is after


def test_a_round_that_does_not_open_leaves_nothing_but_its_revision() -> None:
    record = answered(answered(asked(EMPTY, BAD, NOW, RULES), good("b")), good("c"))
    after = tallied(record, NOW + ROUND)
    assert after == GuardRecord(name="payments", revision=4, rules=RULES)


@pytest.mark.parametrize(
    ("votes", "opens"),
    [
        ([BAD], True),
        ([BAD, good("b")], False),  # half is not more than half
        ([BAD, good("b"), good("c"), good("d")], False),
        ([BAD, good("b", 9)], True),  # too few calls to vote
        ([BAD, Vote("b", True), good("c")], True),  # its breaker is open: it has had enough calls
        ([Vote("a", True), Vote("b", True), Vote("c", True), good("d")], True),
        ([BAD, good("b", 3), good("c", 3), good("d", 3)], True),
        ([], False),
        ([Vote("b", calls=9, failures=9)], False),
        ([Vote("b", calls=5, failures=5), Vote("c", calls=5, failures=5)], True),  # together they have enough
        ([Vote("b", calls=5, failures=5), good("c", 6)], False),
        ([Vote("b", calls=5, slow=4), Vote("c", calls=5, slow=4)], True),
        ([Vote("b", calls=5, slow=4), Vote("c", calls=5, slow=3)], False),
        # Three see half of their calls fail and have not judged yet; the merged windows pass.
        ([BAD, *(Vote(name, calls=20, failures=10) for name in "bcd")], True),
        # One fails fast and has more calls than the others together, which are well: it does not decide for them.
        ([Vote("a", True, 1000, 1000), *(good(name, 20) for name in "bcd")], False),
        ([Vote("a", True, 1000, 1000), good("b", 20), good("c", 3)], False),
    ],
)
def test_what_opens_it_for_all(votes: list[Vote], opens: bool) -> None:
    assert deciding(votes, RULES) is opens


def test_a_rate_that_is_not_judged_opens_nothing() -> None:
    some = [Vote("b", calls=20, failures=20), Vote("c", calls=20, slow=20)]
    assert not deciding(some, GuardRules(failure_rate=None, slow_rate=None))
    assert deciding(some, GuardRules(failure_rate=None, slow_rate=0.5))
    assert not RULES.pass_rates(0, 0, 0)
    for share in range(1, 100):
        exact = structs.replace(RULES, failure_rate=share / 100, slow_rate=None)
        assert exact.pass_rates(100, share, 0), f"{share} of 100"
        assert not exact.pass_rates(100, share - 1, 0)


# The probe


def test_the_probe_is_taken_when_it_is_due_and_by_one() -> None:
    record = opened()
    assert probe_due(record) == NOW + 5
    assert took_probe(record, "a.1", NOW + 4.9) is None
    held = took_probe(record, "a.1", NOW + 5)
    assert held is not None
    assert held.probe == Lease("a.1", NOW + 15)
    assert (held.generation, held.revision) == (record.generation + 1, record.revision + 1)
    assert took_probe(held, "b.1", NOW + 14.9) is None
    assert [state_of(held, NOW + at) for at in (14.9, 15)] == ["half-open", "open"]


def test_a_lapsed_lease_is_taken_and_the_late_report_changes_nothing() -> None:
    record = taken()
    assert probe_due(record) == NOW + 15
    again = took_probe(record, "b.1", NOW + 15)
    assert again is not None
    assert again.probe == Lease("b.1", NOW + 25)
    for outcome in ("success", "failure", "neutral"):
        assert probe_ended(record, "a.1", record.generation, outcome, NOW + 15) is record
        assert probe_ended(again, "a.1", record.generation, outcome, NOW + 16) is again
        assert probe_ended(again, "b.1", record.generation, outcome, NOW + 16) is again
        assert probe_ended(again, "a.1", again.generation, outcome, NOW + 16) is again


def test_a_renewal_gives_the_whole_lease_again_in_the_generation_of_the_probe() -> None:
    renewed = probe_renewed(taken(), "a.1", 2, NOW + 14)
    assert renewed == structs.replace(taken(), probe=Lease("a.1", NOW + 24), revision=taken().revision + 1)
    assert took_probe(renewed, "b.1", NOW + 23) is None
    assert not probe_ended(renewed, "a.1", 2, "success", NOW + 23).open
    assert took_probe(renewed, "b.1", NOW + 24) is not None


def test_a_lease_that_has_passed_or_is_anothers_is_not_renewed() -> None:
    record = taken()
    assert probe_renewed(record, "a.1", 2, NOW + 15) is record
    assert probe_renewed(record, "b.1", 2, NOW + 6) is record
    assert probe_renewed(record, "a.1", 1, NOW + 6) is record
    ended = probe_ended(record, "a.1", 2, "failure", NOW + 6)
    assert probe_renewed(ended, "a.1", 2, NOW + 7) is ended


def test_a_success_closes_it() -> None:
    after = probe_ended(taken(), "a.1", 2, "success", NOW + 6)
    assert (after.open, after.closed_at, after.since, after.probe, after.votes) == (False, NOW + 6, NOW + 6, None, ())
    assert (after.generation, state_of(after, NOW + 6), probe_due(after)) == (3, "closed", None)
    assert took_probe(after, "b.1", NOW + 99) is None


def test_a_failure_waits_for_the_next_interval() -> None:
    after = probe_ended(taken(), "a.1", 2, "failure", NOW + 6)
    assert (after.open, after.since, after.probe_at, after.probe, after.generation) == (True, NOW, NOW + 11, None, 3)


def test_a_probe_that_tells_nothing_is_due_at_once() -> None:
    after = probe_ended(taken(), "a.1", 2, "neutral", NOW + 6)
    assert (after.open, after.since, after.probe_at, after.probe, after.generation) == (True, NOW, NOW + 6, None, 3)
    assert took_probe(after, "b.1", NOW + 6) is not None


# Operators


def test_held_open_has_no_probe_until_a_reset() -> None:
    record = commanded(taken(), "open", NOW + 6)
    assert (record.held, record.open, record.since, record.probe) == ("open", True, NOW, None)
    assert probe_due(record) is None
    assert took_probe(record, "b.1", NOW + 99) is None
    assert probe_ended(record, "a.1", 2, "success", NOW + 7) is record
    assert commanded(record, "open", NOW + 8) is record
    after = commanded(record, "reset", NOW + 9)
    assert (after.held, after.open, after.closed_at) == ("", False, NOW + 9)
    assert commanded(EMPTY, "open", NOW).since == NOW


def test_held_closed_is_closed_and_takes_no_votes() -> None:
    record = commanded(opened(), "close", NOW + 6)
    assert (record.held, record.open, record.closed_at) == ("closed", False, NOW + 6)
    assert commanded(record, "close", NOW + 7) is record
    again = commanded(record, "reset", NOW + 9)
    # All calls were made meanwhile: no ramp goes on.
    assert (again.held, again.open, again.closed_at, again.generation) == ("", False, None, record.generation + 1)


def test_a_reset_is_told_also_where_it_is_closed_and_a_ramp_goes_on() -> None:
    for record in (EMPTY, probe_ended(taken(), "a.1", 2, "success", NOW + 6)):
        after = commanded(record, "reset", NOW + 8)
        assert (after.reset_at, after.closed_at, after.generation) == (
            NOW + 8, record.closed_at, record.generation + 1,
        )  # fmt: skip
        assert rebased(after, "", NOW + 9).reset_at == NOW + 8
        assert rebased(after, "", NOW).reset_at == NOW
        assert rebased(after, "boot 2", NOW).reset_at is None


def test_a_reset_ends_a_round() -> None:
    record = commanded(asked(EMPTY, BAD, NOW), "reset", NOW)
    assert (record.asked_at, record.votes, record.closed_at) == (None, (), None)
    assert tallied(record, NOW + 9) is record


# The clock, and what a store has


def test_after_a_boot_it_is_open_and_the_probe_is_due_at_once() -> None:
    record = rebased(structs.replace(taken(), clock="boot 1", closed_at=7.0), "boot 2", 3.0)
    assert (record.open, record.since, record.probe_at, record.probe) == (True, 3.0, 3.0, Lease("a.1", 3.0))
    assert (record.closed_at, record.votes, record.clock) == (None, (), "boot 2")
    assert (record.revision, record.generation) == (taken().revision, 2)
    assert took_probe(record, "b.1", 3.0) is not None
    assert rebased(asked(EMPTY, BAD, NOW), "boot 2", 3.0).asked_at is None
    assert rebased(opened(), "boot 2", 3.0).probe is None


def test_by_the_same_clock_nothing_changes() -> None:
    for record in (EMPTY, asked(EMPTY, BAD, NOW, RULES), opened(), taken()):
        assert rebased(record, "", NOW + 5) == record
        assert rebased(record, "", NOW + 500) == record
    closed = probe_ended(taken(), "a.1", 2, "success", NOW + 6)
    assert rebased(closed, "", NOW + 6) == closed


def test_a_clock_that_was_set_back_holds_nothing_up() -> None:
    now = NOW - 3600
    record = rebased(opened(), "", now)
    assert (record.since, record.probe_at) == (now, now)
    held = rebased(taken(), "", now)
    assert held.probe == Lease("a.1", now)
    assert took_probe(held, "b.1", now) is not None
    over = rebased(asked(EMPTY, BAD, NOW), "", now)
    assert (over.asked_at, over.votes) == (None, ())
    closed = probe_ended(taken(), "a.1", 2, "success", NOW + 6)
    assert rebased(closed, "", now).closed_at == now


def test_a_clock_that_was_adjusted_a_little_takes_no_lease_away() -> None:
    record = taken()
    assert rebased(record, "", NOW + 5 - SLACK).probe == record.probe


@pytest.mark.parametrize("changes", [{"name": "other"}, {"revision": 0}, {"revision": -3}, {"generation": -1}])
def test_a_record_that_no_process_wrote_is_refused(changes: dict[str, object]) -> None:
    sound = structs.replace(EMPTY, revision=1)
    assert legible(sound, "payments") is sound
    with pytest.raises(ValueError, match="it is the record of"):
        legible(structs.replace(sound, **changes), "payments")


def test_a_view_returns_a_new_record_where_there_is_none() -> None:
    view = GuardsView(NOW, "boot 1", (structs.replace(EMPTY, revision=3),))
    assert view.of("payments").revision == 3
    assert view.of("mail") == GuardRecord(name="mail", clock="boot 1")


# Any sequence of steps by four processes over a store that compares revisions

VOTERS = "abcd"
steps = st.one_of(
    st.tuples(st.just("wait"), st.floats(0, 12)),
    st.tuples(st.just("back"), st.floats(0, 30)),
    st.tuples(st.just("read"), st.sampled_from(VOTERS)),
    st.tuples(st.just("write"), st.sampled_from(VOTERS), st.sampled_from(["kept", "lost", "repeated"])),
    st.tuples(st.just("ask"), st.sampled_from(VOTERS), st.integers(0, 30), st.booleans()),
    st.tuples(st.just("answer"), st.sampled_from(VOTERS), st.integers(0, 30), st.booleans()),
    st.tuples(st.just("tally"), st.sampled_from(VOTERS)),
    st.tuples(st.just("take"), st.sampled_from(VOTERS)),
    st.tuples(st.just("end"), st.sampled_from(VOTERS), st.sampled_from(["success", "failure", "neutral"])),
    st.tuples(st.just("renew"), st.sampled_from(VOTERS)),
    st.tuples(st.just("command"), st.sampled_from(COMMANDS)),
)


def _holder(record: GuardRecord) -> str | None:
    return None if record.probe is None else record.probe.holder


class World:
    """A store, its clock, and four processes, each with what it has read and the write that it has not sent yet."""

    def __init__(self) -> None:
        self.now = NOW
        self.stored = EMPTY
        self.seen: dict[str, tuple[GuardRecord, float]] = dict.fromkeys(VOTERS, (EMPTY, NOW))
        self.unsent: dict[str, tuple[GuardRecord, bool]] = {}
        self.probes: dict[str, tuple[str, int]] = {}
        self.given: list[Lease] = []

    def read(self, who: str) -> None:
        self.seen[who] = (rebased(self.stored, "", self.now), self.now)

    def make(self, who: str, record: GuardRecord | None, *, probe: bool = False) -> None:
        if record is not None and record is not self.seen[who][0]:
            self.unsent[who] = (record, probe)

    def write(self, who: str, how: str) -> None:
        if who not in self.unsent:
            return
        record, probe = self.unsent[who] if how == "repeated" else self.unsent.pop(who)
        if how != "lost":
            self.swap(record, by_command=False)
            if probe and self.stored is record and record.probe is not None:
                self.probes[who] = (record.probe.holder, record.generation)

    def swap(self, record: GuardRecord, *, by_command: bool) -> None:
        if record.revision != self.stored.revision + 1:
            return
        before, self.stored = self.stored, record
        assert record.generation - before.generation in (0, 1)
        assert by_command or record.held == before.held
        if record.generation == before.generation:
            assert (record.open, _holder(record)) == (before.open, _holder(before))
        if record.probe is not None and _holder(record) != _holder(before):
            # The one before has been given back, or its lease had passed when this one was given.
            assert before.probe is None or rebased(before, "", self.now).probe is not None
            assert not (before.probe and state_of(rebased(before, "", self.now), self.now) == "half-open")
            assert record.probe.holder not in [lease.holder for lease in self.given]
            self.given.append(record.probe)

    def step(self, step: tuple[object, ...]) -> None:
        match step:
            case ("wait", float(seconds)):
                self.now += seconds
            case ("back", float(seconds)):
                self.now -= seconds
            case ("read", str(who)):
                self.read(who)
            case ("write", str(who), str(how)):
                self.write(who, how)
            case ("ask", str(who), int(calls), bool(whole)):
                found, at = self.seen[who]
                self.make(who, asked(found, Vote(who, True, calls, calls if whole else 0), at, RULES))
            case ("answer", str(who), int(calls), bool(well)):
                self.make(who, answered(self.seen[who][0], Vote(who, False, calls, 0 if well else calls)))
            case ("tally", str(who)):
                self.make(who, tallied(*self.seen[who]))
            case ("take", str(who)):
                found, at = self.seen[who]
                holder = f"{who}.{len(self.given)}.{self.stored.revision}.{self.now}"
                self.make(who, took_probe(found, holder, at), probe=True)
            case ("end", str(who), "success" | "failure" | "neutral" as outcome):
                holder, generation = self.probes.get(who, ("", 0))
                self.make(who, probe_ended(self.seen[who][0], holder, generation, outcome, self.seen[who][1]))
            case ("renew", str(who)):
                self.make(who, probe_renewed(self.seen[who][0], *self.probes.get(who, ("", 0)), self.seen[who][1]))
            case ("command", "open" | "close" | "reset" as command):
                record = commanded(rebased(self.stored, "", self.now), command, self.now)
                if record.revision > self.stored.revision:
                    self.swap(record, by_command=True)


@settings(max_examples=400, deadline=None)
@given(st.lists(steps, max_size=60))
def test_no_sequence_of_steps_gives_two_probes_or_leaves_a_held_state(sequence: list[tuple[object, ...]]) -> None:
    world = World()
    for step in sequence:
        revision, generation = world.stored.revision, world.stored.generation
        world.step(step)
        assert world.stored.revision in (revision, revision + 1)
        assert world.stored.generation >= generation
        assert len(world.stored.votes) <= len(VOTERS)
    # Whatever happened: a process that comes later can take the probe as soon as a lease and an interval have passed.
    world.now += RULES.interval + RULES.lease
    last = rebased(world.stored, "", world.now)
    if last.open and not last.held:
        assert took_probe(last, "late", world.now) is not None


@given(st.sampled_from(COMMANDS), st.sampled_from(["success", "failure", "neutral"]))
def test_a_probe_that_ends_after_a_command_changes_nothing(command: GuardCommand, outcome: ProbeOutcome) -> None:
    record = commanded(taken(), command, NOW + 6)
    assert probe_ended(record, "a.1", 2, outcome, NOW + 7) is record
