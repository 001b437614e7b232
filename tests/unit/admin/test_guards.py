"""The guards of a store as operators see them, and their commands."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from outlast import Breaker, Bulkhead, ConfigurationError, Fallback, Guard, Retry, RetryBudget, StoreUnavailable
from outlast.admin.guards import GuardStatus, command_guard, guards_of, nearest, rules_to_share
from outlast.brokers.memory import MemoryStore
from outlast.core.errors import StoreUncertain
from outlast.core.guards.permits import PermitsInUse
from outlast.core.guards.record import GuardCommand, GuardRecord, GuardRules, GuardsView, Lease, Vote, commanded
from outlast.core.policy import DEFAULTS
from outlast.core.store.broker import QueueStats
from outlast.resilience.words import policies_in_words
from outlast.testing.clock import FakeClock

OPEN = {"revision": 3, "open": True, "since": 59.0, "probe_at": 104.0}


def status(needs: int = 0, **fields: Any) -> GuardStatus:
    """Return what is told at 100 s of a guard with this record."""
    stats = {"charges": QueueStats(depth=needs, running=2, needs=("payments",))} if needs else {}
    (found,) = guards_of(GuardsView(100.0, "", (GuardRecord(name="payments", **fields),)), stats, {})
    return found


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        (OPEN, {"state": "open", "seconds": 41.0, "next_probe": 4.0, "share": 0.0, "held": ""}),
        (OPEN | {"probe_at": 90.0}, {"next_probe": 0.0, "why": "open for 41 s, a probe is due"}),
        (OPEN | {"held": "open"}, {"held": "open", "next_probe": None}),
        (OPEN | {"probe_at": 90.0, "probe": Lease("a.1", 108.0)}, {"state": "half-open", "probe_by": "a.1"}),
        (OPEN | {"probe_at": 90.0, "probe": Lease("a.1", 99.0)}, {"state": "open", "probe_by": "", "next_probe": 0.0}),
        ({"revision": 4, "since": 95.0, "closed_at": 95.0}, {"state": "closed", "seconds": 5.0, "share": 0.55}),
        (
            {"revision": 4, "since": 95.0, "closed_at": 95.0, "held": "closed"},
            {"state": "closed", "held": "closed", "share": 1.0, "why": ""},
        ),
        ({"revision": 1, "asked_at": 99.0}, {"state": "closed", "asking": True, "seconds": None}),
    ],
)
def test_what_is_told_of_a_record(fields: dict[str, Any], told: dict[str, Any]) -> None:
    found = status(**fields)
    assert {name: getattr(found, name) for name in told} == told
    assert found.known


def test_who_waits_and_what_the_processes_have_seen() -> None:
    votes = (Vote("a", open=True, calls=30, failures=29, slow=3), Vote("b", calls=10))
    found = status(needs=314, **OPEN, votes=votes)
    assert found.queues == {"charges": 312}
    assert found.calls == Vote("", calls=40, failures=29, slow=3)


def test_the_bulkheads_of_workers_and_the_longest_wait() -> None:
    told = [PermitsInUse("payments", "a:1", 2, 2, 1), PermitsInUse("files", "a:1", 1, 9, 0)]
    more = (PermitsInUse("payments", "b:1", 1, 2, 0),)
    stats = {
        "charges": QueueStats(needs=("payments",), oldest=7.0, permits=tuple(told)),
        "mails": QueueStats(oldest=99.0, permits=more),
        "refunds": QueueStats(needs=("payments",), oldest=41.0),
    }
    files, payments = guards_of(GuardsView(100.0, "", ()), stats, {})
    assert (files.name, files.permits, files.oldest) == ("files", (told[1],), 0.0)
    assert (payments.permits, payments.oldest) == ((told[0], *more), 41.0)


def test_a_guard_is_known_by_its_record_its_queue_or_the_app() -> None:
    view = GuardsView(100.0, "", (GuardRecord(name="b", revision=1),))
    app = {"c": Guard("c", breaker=Breaker(open_for=7)), "a": Guard("a", bulkhead=1)}
    found = guards_of(view, {"q": QueueStats(needs=("d",))}, app)
    told = [(each.name, each.known, each.declared, each.scope) for each in found]
    expected = [
        ("a", False, True, ""),
        ("b", True, False, "all"),
        ("c", False, True, "all"),
        ("d", False, False, "all"),
    ]
    assert told == expected
    assert [each.rules.interval for each in found] == [5.0, 5.0, 7.0, 5.0]


def test_the_nearest_name() -> None:
    assert nearest("paymnts", ["mail", "payments"]) == "payments"
    assert nearest("x", ["mail", "payments"]) == ""


# By hand


class Crowded(MemoryStore):
    """A store in which other processes write before each of the first swaps, or lose the answers to them."""

    def __init__(self, before: Sequence[GuardCommand] = (), lost: int = 0) -> None:
        super().__init__(FakeClock(), max_body=DEFAULTS.max_body)
        self.before, self.lost = list(before), lost

    async def swap(self, records: Sequence[GuardRecord]) -> list[bool]:
        """Store the records."""
        if self.before:
            view = await self.guards()
            await super().swap([commanded(view.of(records[0].name), self.before.pop(0), view.now)])
        stored = await super().swap(records)
        if self.lost:
            self.lost -= 1
            raise StoreUncertain("the answer is lost")
        return stored


async def held(store: MemoryStore) -> tuple[str, bool, int]:
    """Return who holds the guard, whether it is open, and how often its record has been written."""
    record = (await store.guards()).of("payments")
    return record.held, record.open, record.revision


async def test_a_command_is_repeated_until_no_process_was_first() -> None:
    store = Crowded(before=["close", "reset"])
    assert await command_guard(store, "payments", "open")
    assert await held(store) == ("open", True, 3)
    assert not await command_guard(store, "payments", "open")
    assert await held(store) == ("open", True, 3)
    assert await command_guard(store, "payments", "reset")
    assert await held(store) == ("", False, 4)
    assert await command_guard(store, "payments", "reset")  # a process may be open alone


async def test_a_command_whose_answer_is_lost_is_made_once() -> None:
    store = Crowded(lost=1)
    assert await command_guard(store, "payments", "close")
    assert await held(store) == ("closed", False, 1)


async def test_a_store_that_is_away_is_told() -> None:
    class Away(MemoryStore):
        async def guards(self) -> GuardsView:
            raise StoreUnavailable("gone")

    with pytest.raises(StoreUnavailable):
        await command_guard(Away(FakeClock(), max_body=1), "payments", "open")


async def test_the_rules_of_the_app_are_kept_for_a_guard_that_the_store_does_not_know() -> None:
    store, rules = Crowded(), GuardRules(ramp=60)
    await command_guard(store, "payments", "open", rules)
    await command_guard(store, "payments", "reset", GuardRules(ramp=1))
    assert (await store.guards()).of("payments").rules == rules


def test_no_command_reaches_a_guard_that_processes_do_not_share() -> None:
    assert rules_to_share("payments", None) is None
    shared = rules_to_share("payments", Guard("payments", breaker=Breaker(ramp=3)))
    assert shared is not None
    assert shared.ramp == 3
    for guard, fix in (
        (Guard("payments", bulkhead=1), "breaker=True"),
        (Guard("payments", breaker=True, key="host"), r"guard\.of\(key\)\.hold"),
        (Guard("payments", breaker=Breaker(share=False)), "leave out share=False"),
    ):
        with pytest.raises(ConfigurationError, match=fix):
            rules_to_share("payments", guard)


# In words


def test_the_policies_in_words() -> None:
    every = Guard(
        "payments",
        timeout=2,
        retry=Retry(attempts=3, within=9),
        budget=RetryBudget(share=0.2, floor=5),
        breaker=Breaker(),
        bulkhead=Bulkhead(20, max_wait="250ms"),
        fallback=Fallback(None, on=ValueError),
        key="host",
        idempotent=True,
    )
    assert policies_in_words(every.settings) == {
        "key": "a breaker and a bulkhead for each host, in each process; at most 10,000",
        "retry": "3 attempts within 9 s; budget 5 and 20% of the successes; POST and PATCH too",
        "bulkhead": "20 at once, 100 wait at most 0.25 s",
        "breaker": "opens when 50% fail or 50% take 2 s of at least 10 in 30 s; probe every 5 s, lease 10 s, ramp 10 s",
        "timeout": "2 s",
        "fallback": "None instead of ValueError",
    }
    alone = Guard("a", breaker=Breaker(window=100, failure_rate=None, slow_rate=0.9, slow=1, share=False), key=len)
    assert policies_in_words(alone.settings) == {
        "key": "a breaker and a bulkhead for each key, in each process; at most 10,000",
        "breaker": "opens when 90% take 1 s of at least 10 in the last 100 calls; probe every 5 s, lease 10 s, "
        "ramp 10 s; each process alone",
    }
    assert policies_in_words(Guard("a", fallback=Fallback(len), retry=2, budget=None).settings) == {
        "retry": "2 attempts",
        "fallback": "a function instead of Exception",
    }
