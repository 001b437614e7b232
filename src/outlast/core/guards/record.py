"""The state of a guard that processes share through a store: a vote opens it, one probe closes it; pure transitions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Literal

from msgspec import Struct, structs

__all__ = [
    "COMMANDS",
    "MOST_VOTES",
    "ROUND",
    "STALE_ROUND",
    "UNREADABLE_GUARD",
    "GuardCommand",
    "GuardRecord",
    "GuardRules",
    "GuardState",
    "GuardsView",
    "Held",
    "Lease",
    "ProbeOutcome",
    "Vote",
    "answered",
    "asked",
    "commanded",
    "deciding",
    "legible",
    "probe_due",
    "probe_ended",
    "probe_renewed",
    "rebased",
    "state_of",
    "tallied",
    "took_probe",
    "waiting_for",
]

ROUND: Final = 1.0
"""Seconds after which the votes of a round are counted."""
STALE_ROUND: Final = 5.0
"""Seconds after which a round whose askers have all died is forgotten, and its votes with it."""
MOST_VOTES: Final = 64
"""The most votes of a round; later ones are not kept."""
SLACK: Final = 1.0
"""Seconds that a clock may be set back before stored times count as wrong: a clock that is adjusted moves by less."""
UNREADABLE_GUARD: Final = (
    "the shared state of guard %r cannot be read, and counts as none: the next change replaces it: %s"
)
"""What the log tells of a record that cannot be read: with its name, and the error."""

Held = Literal["", "open", "closed"]
GuardState = Literal["closed", "open", "half-open"]
ProbeOutcome = Literal["success", "failure", "neutral"]
GuardCommand = Literal["open", "close", "reset"]
COMMANDS: Final[tuple[GuardCommand, ...]] = ("open", "close", "reset")


class GuardRules(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the transitions need of a breaker's policy, stored so that processes without the app's code can compute.

    interval: seconds from an opening, or from a failed probe, to the next probe. lease: seconds for which a probe is
    waited. ramp: seconds over which admissions grow after a closing. minimum: calls that a window needs to count.
    failure_rate, slow_rate: the shares from which a window opens, None for none. quorum: the share of the votes that
    must be exceeded.
    """

    interval: float = 5.0
    lease: float = 10.0
    ramp: float = 10.0
    minimum: int = 10
    failure_rate: float | None = 0.5
    slow_rate: float | None = None
    quorum: float = 0.5

    def pass_rates(self, calls: int, failures: int, slow: int) -> bool:
        """Tell whether the rates of these calls open a breaker, however few they are; none do not."""
        if calls <= 0:
            return False
        # Divided as in `Thresholds.passed`: 0.07 * 100 is above 7, and a breaker that is open would vote in vain.
        failing = self.failure_rate is not None and failures / calls >= self.failure_rate
        return failing or (self.slow_rate is not None and slow / calls >= self.slow_rate)


class Vote(Struct, frozen=True, omit_defaults=True):
    """The window of one process. voter: the process. open: its own breaker is open, whatever its window still has."""

    voter: str
    open: bool = False
    calls: int = 0
    failures: int = 0
    slow: int = 0


class Lease(Struct, frozen=True):
    """The right to the one probe, until a time. holder: names one taking of one process, and is never used again."""

    holder: str
    until: float


class GuardRecord(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The shared state of a guard. Times are seconds of the store's clock (`GuardsView.now`).

    revision: grows by one with each write. generation: grows with each change of state, so also when the probe is
    taken, given back or ends: it names a probe. since: of the opening, or of the closing. probe_at: no probe is taken
    before. probe: who has the probe. closed_at: when a probe closed it, or a command, from which the ramp counts; None
    for no ramp. reset_at: of the last reset, which closes also a breaker that is open in one process alone. held: by an
    operator: only a command changes it. votes: of the round, or of the round that opened it. asked_at: when the round
    began, None for no round. rules: those of the process that asked last. clock: which clock the times are of; another
    name means that they have no meaning now (`rebased`).
    """

    name: str
    revision: int = 0
    generation: int = 0
    open: bool = False
    since: float = 0.0
    probe_at: float = 0.0
    probe: Lease | None = None
    closed_at: float | None = None
    reset_at: float | None = None
    held: Held = ""
    votes: tuple[Vote, ...] = ()
    asked_at: float | None = None
    rules: GuardRules = GuardRules()
    clock: str = ""


class GuardsView(Struct, frozen=True):
    """All records of a store, rebased, by name, and the store's time at which they were read."""

    now: float
    clock: str
    records: tuple[GuardRecord, ...]

    def of(self, name: str) -> GuardRecord:
        """Return the record of a guard; a new one, closed and without a revision, where none is stored."""
        return next((each for each in self.records if each.name == name), GuardRecord(name=name, clock=self.clock))


# The vote


def asked(record: GuardRecord, vote: Vote, now: float, rules: GuardRules | None = None) -> GuardRecord:
    """Begin a round with this vote, or join the one that runs. Unchanged where the guard is open or held already.

    rules: of the process that asks; None leaves those of the record. Count the votes by `tallied` when the round is
    ROUND seconds old; whichever asker does it first decides.
    """
    if record.open or record.held:
        return record
    if record.asked_at is not None and now - record.asked_at < STALE_ROUND:
        return _voted(record, vote)
    return _written(record, votes=(vote,), asked_at=now, rules=record.rules if rules is None else rules)


def answered(record: GuardRecord, vote: Vote) -> GuardRecord:
    """Add a vote to the round that runs. Unchanged without a round, and for a process that has voted in it."""
    if record.asked_at is None or any(each.voter == vote.voter for each in record.votes):
        return record
    return _voted(record, vote)


def waiting_for(record: GuardRecord, voter: str) -> bool:
    """Tell whether a round runs in which this process has not voted."""
    no_vote = len(record.votes) < MOST_VOTES and all(each.voter != voter for each in record.votes)
    return record.asked_at is not None and no_vote


def tallied(record: GuardRecord, now: float) -> GuardRecord:
    """Decide a round that is ROUND seconds old, or has all the votes it may have: open, or forget the round.

    Before that a decision could still change: no process knows how many processes there are, and those without calls do
    not answer. Unchanged without a round, and before its end.
    """
    if record.asked_at is None or (now - record.asked_at < ROUND and len(record.votes) < MOST_VOTES):
        return record
    if deciding(record.votes, record.rules):
        return _opened(record, now)
    return _written(record, votes=(), asked_at=None)


def deciding(votes: Sequence[Vote], rules: GuardRules) -> bool:
    """Tell whether these votes open the guard for all.

    They do when more than `quorum` of the voters with enough calls are open: one whose breaker is open has had them.
    They also do when the windows together have enough calls and pass a rate, and so do the windows of those that are
    not open: a process that fails fast may have more calls than all others together, and must not decide for them.
    """
    sure = [vote for vote in votes if vote.open or vote.calls >= rules.minimum]
    if sum(vote.open for vote in sure) > rules.quorum * len(sure):
        return True
    others = [vote for vote in votes if not vote.open]
    enough = sum(vote.calls for vote in votes) >= rules.minimum
    return enough and _pass_together(votes, rules) and _pass_together(others, rules)


def _pass_together(votes: Sequence[Vote], rules: GuardRules) -> bool:
    return rules.pass_rates(
        sum(vote.calls for vote in votes), sum(vote.failures for vote in votes), sum(vote.slow for vote in votes)
    )


def _voted(record: GuardRecord, vote: Vote) -> GuardRecord:
    """Return the record with this vote in place of an earlier one of its process."""
    others = tuple(each for each in record.votes if each.voter != vote.voter)
    if vote in record.votes or len(others) >= MOST_VOTES:
        return record
    return _written(record, votes=(*others, vote))


# The probe


def probe_due(record: GuardRecord) -> float | None:
    """Return the time from which the probe can be taken: when it is due, and the lease of an earlier one has passed.

    None where there is none to take: closed, or held.
    """
    if record.held or not record.open:
        return None
    return record.probe_at if record.probe is None else max(record.probe_at, record.probe.until)


def took_probe(record: GuardRecord, holder: str, now: float) -> GuardRecord | None:
    """Give the one probe to `holder`, for the lease of the rules; None where it cannot be taken now.

    holder: a name that was never given before, so that a late report of the same process is told from this one.
    """
    due = probe_due(record)
    if due is None or now < due:
        return None
    return _changed(record, probe=Lease(holder, now + record.rules.lease))


def probe_ended(record: GuardRecord, holder: str, generation: int, outcome: ProbeOutcome, now: float) -> GuardRecord:
    """Close after a success, wait for the next interval after a failure, give the probe back if it told nothing.

    generation: that of the record in which `took_probe` gave it. Unchanged for a probe that is not the present one, or
    whose lease has passed.
    """
    if not _has_probe(record, holder, generation, now):
        return record
    match outcome:
        case "success":
            return _closed(record, now)
        case "failure":
            return _changed(record, probe=None, probe_at=now + record.rules.interval)
        case _:
            return _changed(record, probe=None, probe_at=now)


def probe_renewed(record: GuardRecord, holder: str, generation: int, now: float) -> GuardRecord:
    """Give the probe its whole lease again: its holder lives, and has made no call yet.

    The generation stays, so that the report of the probe counts. Unchanged as by `probe_ended`.
    """
    if not _has_probe(record, holder, generation, now):
        return record
    return _written(record, probe=Lease(holder, now + record.rules.lease))


def _has_probe(record: GuardRecord, holder: str, generation: int, now: float) -> bool:
    """Tell whether the present probe is the one that `holder` has since this generation, and its lease lasts."""
    probe = record.probe
    return probe is not None and probe.holder == holder and record.generation == generation and now < probe.until


def state_of(record: GuardRecord, now: float) -> GuardState:
    """Return the state: half-open while a probe runs whose lease has not passed."""
    if not record.open:
        return "closed"
    return "half-open" if record.probe is not None and now < record.probe.until else "open"


# Operators


def commanded(record: GuardRecord, command: GuardCommand, now: float) -> GuardRecord:
    """Hold the guard open or closed, or let it go: then it is closed, and ramps up if it was open.

    A probe that runs counts no more. Unchanged where it is held so already. A reset is always a change: no record tells
    of a process that is open alone.
    """
    match command:
        case "open":
            since = record.since if record.open else now
            return record if record.held == "open" else structs.replace(_opened(record, now), held="open", since=since)
        case "close":
            return record if record.held == "closed" else _closed(record, now, held="closed")
        case _:
            # While it was held closed all calls were made: there is nothing to ramp up, and no ramp to go on.
            closed_at = now if record.open else None if record.held else record.closed_at
            return structs.replace(_closed(record, now), closed_at=closed_at, reset_at=now)


# The clock


def rebased(record: GuardRecord, clock: str, now: float) -> GuardRecord:
    """Return a stored record as it is to be read at `now` of `clock`; its revision and generation stay.

    After a boot the stored times mean nothing: an open guard stays open with its probe due at once, leases have passed
    and rounds are over. So it is too with a time that lies further ahead than it can: the clock was set back, and
    would hold a probe longer than its lease, or an opening longer than its interval.
    """
    known, rules = record.clock == clock, record.rules
    probe, round_runs = record.probe, known and record.asked_at is not None and record.asked_at <= now + SLACK
    if probe is not None and not (known and probe.until <= now + rules.lease + SLACK):
        probe = Lease(probe.holder, now)
    return structs.replace(
        record,
        clock=clock,
        since=min(record.since, now) if known else now,
        probe_at=record.probe_at if known and record.probe_at <= now + rules.interval + SLACK else now,
        probe=probe,
        closed_at=min(record.closed_at, now) if known and record.closed_at is not None else None,
        reset_at=min(record.reset_at, now) if known and record.reset_at is not None else None,
        votes=record.votes if round_runs or (known and record.asked_at is None) else (),
        asked_at=record.asked_at if round_runs else None,
    )


def legible(record: GuardRecord, name: object) -> GuardRecord:
    """Return a record that was stored under `name`; raise ValueError for one of another guard, or that none wrote."""
    if record.name != name or record.revision < 1 or record.generation < 0:
        raise ValueError(f"it is the record of {record.name!r}, revision {record.revision}")
    return record


# How a record changes


def _opened(record: GuardRecord, now: float) -> GuardRecord:
    probe_at = now + record.rules.interval
    return _changed(record, open=True, since=now, probe_at=probe_at, probe=None, asked_at=None)


def _closed(record: GuardRecord, now: float, held: Held = "") -> GuardRecord:
    closed_at = now if record.open else record.closed_at
    return _changed(record, open=False, since=now, probe=None, closed_at=closed_at, held=held, votes=(), asked_at=None)


def _changed(record: GuardRecord, **fields: Any) -> GuardRecord:
    return _written(record, generation=record.generation + 1, **fields)


def _written(record: GuardRecord, **fields: Any) -> GuardRecord:
    return structs.replace(record, revision=record.revision + 1, **fields)
