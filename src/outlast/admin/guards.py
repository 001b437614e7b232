"""Operations on the guards of a store: their state as data and in words, and open, close and reset by hand."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import Final, Literal

from msgspec import Struct, structs

from outlast.core.errors import ConfigurationError, StoreUncertain
from outlast.core.guards.needs import DeclaredGuard
from outlast.core.guards.permits import PermitsInUse
from outlast.core.guards.ramp import share
from outlast.core.guards.record import (
    GuardCommand,
    GuardRecord,
    GuardRules,
    GuardState,
    GuardsView,
    Held,
    Vote,
    commanded,
    probe_due,
    state_of,
)
from outlast.core.guards.waits import WAITS_FOR, waits_for
from outlast.core.message import State
from outlast.core.store.broker import QueueStats
from outlast.core.store.guards import Guards
from outlast.core.store.records import JobRecord
from outlast.core.store.store import Store
from outlast.resilience.guard import Guard
from outlast.resilience.shared_states import rules_of
from outlast.resilience.words import policies_in_words

__all__ = [
    "GuardStatus",
    "command_guard",
    "guards_of",
    "nearest",
    "rules_to_share",
    "states_of",
    "waits_of_jobs",
    "waits_of_queues",
]

Scope = Literal["all", "process", "key", ""]
_WAITING: Final[tuple[State, ...]] = ("scheduled", "ready")


class GuardStatus(Struct, frozen=True, kw_only=True):
    """What is known of one guard. Times are seconds, relative to the time of the read.

    state: of all processes. known: whether the store has a record: it keeps none of a guard that has never opened and
    was never held. seconds: since the state began, None where the store does not know. next_probe: until a probe may be
    taken; 0 when it is due; None while it is closed or held. share: of the calls that are made. votes: the windows of
    the processes in the last round. asking: whether a round runs. rules: of the process that asked last. queues: the
    unfinished jobs, those that run left out, of each queue that needs it. oldest: how long the first of their ready
    jobs has waited. permits: the bulkhead in each worker process that uses it, as it told last. policies: what the app
    declares, in words. scope: whose breaker it is, of all processes, of each process, of each key in a process, or
    none. why: the state in words, "" while it is closed and all calls are made.
    """

    name: str
    state: GuardState = "closed"
    held: Held = ""
    known: bool = False
    seconds: float | None = None
    next_probe: float | None = None
    probe_by: str = ""
    share: float = 1.0
    votes: tuple[Vote, ...] = ()
    asking: bool = False
    rules: GuardRules = GuardRules()
    queues: dict[str, int] = {}
    oldest: float = 0.0
    permits: tuple[PermitsInUse, ...] = ()
    policies: dict[str, str] = {}
    declared: bool = False
    scope: Scope = "all"
    why: str = ""

    @property
    def calls(self) -> Vote:
        """The windows of all voters together."""
        votes = self.votes
        return Vote(
            "",
            calls=sum(each.calls for each in votes),
            failures=sum(each.failures for each in votes),
            slow=sum(each.slow for each in votes),
        )


async def states_of(store: Store, declared: Mapping[str, DeclaredGuard] | None = None) -> list[GuardStatus]:
    """Return all guards that the store or the app knows, by name; raise ConfigurationError, StoreError."""
    view = await store.guards.guards()
    return guards_of(view, await store.broker.stats(()), declared or {})


def guards_of(
    view: GuardsView, stats: Mapping[str, QueueStats], declared: Mapping[str, DeclaredGuard]
) -> list[GuardStatus]:
    """Return the guards that have a record, that a queue needs, a worker uses, or the app declares, by name."""
    needed = {name for each in stats.values() for name in each.needs}
    used = {permits.guard for each in stats.values() for permits in each.permits}
    names = {record.name for record in view.records} | needed | used | set(declared)
    return [_status(view.of(name), view.now, stats, declared.get(name)) for name in sorted(names)]


def _status(
    record: GuardRecord, now: float, stats: Mapping[str, QueueStats], declared: DeclaredGuard | None
) -> GuardStatus:
    name, known = record.name, record.revision > 0
    needing = {queue: each for queue, each in sorted(stats.items()) if name in each.needs}
    due = probe_due(record)
    part = 0.0 if record.open else 1.0
    if not record.open and not record.held and record.closed_at is not None:
        part = share(now - record.closed_at, record.rules.ramp)
    return GuardStatus(
        name=name,
        state=state_of(record, now),
        held=record.held,
        known=known,
        seconds=max(0.0, now - record.since) if known and _has_begun(record) else None,
        next_probe=None if due is None else max(0.0, due - now),
        probe_by=record.probe.holder if record.probe is not None and now < record.probe.until else "",
        share=part,
        votes=record.votes,
        asking=record.asked_at is not None,
        rules=record.rules if known or declared is None or declared.breaker is None else rules_of(declared.breaker),
        queues={queue: each.depth - each.running for queue, each in needing.items()},
        oldest=max((each.oldest for each in needing.values()), default=0.0),
        permits=tuple(permits for each in stats.values() for permits in each.permits if permits.guard == name),
        policies=policies_in_words(declared.settings) if isinstance(declared, Guard) else {},
        declared=declared is not None,
        scope=_scope(declared),
        why=waits_for([name], [record], now).removeprefix(f"{WAITS_FOR} {name}: "),
    )


def _has_begun(record: GuardRecord) -> bool:
    """Tell whether the store knows since when it is in its state: not of one for which there was only a round."""
    return record.open or record.closed_at is not None or record.reset_at is not None


def _scope(declared: DeclaredGuard | None) -> Scope:
    if declared is None:
        return "all"
    if declared.breaker is None:
        return ""
    return "key" if declared.keyed else "all" if declared.breaker.share else "process"


def nearest(name: str, known: Iterable[str]) -> str:
    """Return the known name that is most like this one, "" if none is."""
    return next(iter(get_close_matches(name, sorted(known), 1)), "")


# By hand


def rules_to_share(name: str, declared: DeclaredGuard | None) -> GuardRules | None:
    """Return the rules of a guard that an app declares, None without one.

    Raise ConfigurationError for a guard whose processes share no state: no command can reach them.
    """
    if declared is None:
        return None
    if declared.breaker is None:
        raise ConfigurationError(f"guard {name!r} has no breaker: declare it with breaker=True to open it by hand")
    match _scope(declared):
        case "key":
            what, instead = "a breaker for each key", "declare it without key=, or call guard.of(key).hold(...) there"
        case "process":
            what, instead = "Breaker(share=False)", "leave out share=False, or call guard.hold(...) there"
        case _:
            return rules_of(declared.breaker)
    raise ConfigurationError(f"guard {name!r} has {what}, which each process keeps for itself: {instead}")


async def command_guard(guards: Guards, name: str, command: GuardCommand, rules: GuardRules | None = None) -> bool:
    """Hold a guard open or closed in all processes, or let it go; return whether that changed anything.

    The store keeps the command: it outlives every process, and only another command ends it. rules: of a guard that
    the store does not know yet. Repeats itself until no other process was first. Raise StoreError.
    """
    uncertain = False
    while True:
        view = await guards.guards()
        found = view.of(name)
        if found.revision == 0 and rules is not None:
            found = structs.replace(found, rules=rules)
        record = commanded(found, command, view.now)
        if record is found:
            return uncertain  # then an earlier try of this call may have been stored
        try:
            (stored,) = await guards.swap([record])
        except StoreUncertain:
            uncertain = True
            continue
        if stored:
            return True


# Who waits


async def waits_of_queues(store: Store, stats: Mapping[str, QueueStats]) -> dict[str, str]:
    """Return why the jobs of each queue wait for guards, for those that do; see `waits_for`."""
    if not store.shares_guards() or not any(each.needs for each in stats.values()):
        return {}
    view = await store.guards.guards()
    told = {name: waits_for(each.needs, view.records, view.now) for name, each in stats.items()}
    return {name: why for name, why in told.items() if why}


async def waits_of_jobs(
    store: Store, records: Sequence[JobRecord], needs: Mapping[str, Sequence[str]] | None = None
) -> dict[str, str]:
    """Return why jobs wait for guards, by their id, for those that do: those that their queue needs, and one that has
    put a job off; see `waits_for`.

    needs: of the queues, where the caller knows them; None: read them in the store.
    """
    waiting = [record for record in records if record.state in _WAITING]
    if not waiting or not store.shares_guards():
        return {}
    if needs is None:
        stats = await store.broker.stats(sorted({record.queue for record in waiting}))
        needs = {name: each.needs for name, each in stats.items()}
    guards = {record.id: _guards_of(record, needs.get(record.queue, ())) for record in waiting}
    if not any(guards.values()):
        return {}
    view = await store.guards.guards()
    told = {id_: waits_for(names, view.records, view.now) for id_, names in guards.items()}
    return {id_: why for id_, why in told.items() if why}


def _guards_of(record: JobRecord, needs: Sequence[str]) -> list[str]:
    begin, by = f"{WAITS_FOR} ", record.reason or ""
    return list(dict.fromkeys([*needs, *([by.removeprefix(begin)] if by.startswith(begin) else [])]))
