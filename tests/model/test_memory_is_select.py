"""Random histories on the memory store and on a page of plain lists that asks `select` alone who is next."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from outlast.brokers.memory import MemoryStore
from outlast.core.message import Fence, Holder, rank_of
from outlast.core.policy import Priority
from outlast.core.protocols import Cancel, Pause
from outlast.core.select import Place, Selection, select
from outlast.core.settlement import ACCEPTED, Exists, Finish, Lost, Park, Release, Retry, Settlement
from outlast.testing.clock import FakeClock
from tests.support.jobs import LEASE, A, B, message

T = TypeVar("T")

IDS = [f"{queue}.{n}" for queue in "abc" for n in range(6)]
ids = st.sampled_from(IDS)
holders = st.sampled_from((A, B))


@dataclass
class Entry:
    """One job in the plain model. over: it ended; holder: who runs it; lapsed: who ran it and may take it back."""

    id: str
    order: int
    rank: int
    at: float
    priority: Priority
    attempt: int = 1
    crashes: int = 0
    token: int = 0
    open: bool = False
    holder: str = ""
    lapsed: str = ""
    flagged: bool = False
    over: str = ""

    @property
    def queue(self) -> str:
        return self.id[0]


class Plain(RuleBasedStateMachine):
    """The memory store beside lists without any index: slow, short, and right at a glance."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.clock = FakeClock()
        self.store = MemoryStore(self.clock)
        self.entries: dict[str, Entry] = {}
        self.leases: dict[str, float] = {}
        self.last = ""
        self.tokens = 0
        self.paused: set[str] = set()
        self.handed: list[Fence] = []

    def teardown(self) -> None:
        self.runner.close()

    def do(self, call: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(call)

    @rule(id=ids, delay=st.sampled_from([0.0, 0.0, 3.0, 30.0]), priority=st.sampled_from(["high", "normal", "low"]))
    def publish(self, id: str, delay: float, priority: Priority) -> None:
        answers = self.do(self.store.publish([message(id, self.clock.time(), delay=delay, priority=priority)]))
        if id in self.entries:
            assert answers == [Exists(id, "id")]
            return
        assert answers == [ACCEPTED]
        at = self.clock.time() + delay
        self.entries[id] = Entry(id, len(self.entries), rank_of(at, priority), at, priority)

    def renew(self, holder: Holder) -> None:
        self.leases[holder.id] = self.clock.monotonic() + LEASE
        for entry in self.entries.values():
            if entry.lapsed == holder.id:
                entry.holder, entry.lapsed = holder.id, ""
                entry.crashes -= 1

    def lapse(self) -> None:
        for entry in self.entries.values():
            if entry.holder and self.leases[entry.holder] <= self.clock.monotonic():
                if entry.flagged:
                    entry.over, entry.holder, entry.open = "cancelled", "", False
                else:
                    entry.lapsed, entry.holder = entry.holder, ""
                    entry.crashes += 1

    @rule(holder=holders, limit=st.integers(1, 5), demand=st.dictionaries(st.sampled_from("abc"), st.integers(0, 4)))
    def claim(self, holder: Holder, limit: int, demand: dict[str, int]) -> None:
        self.renew(holder)
        self.lapse()
        now = self.clock.time()
        lines = {
            queue: sorted(
                Place(each.rank, each.order, each.id)
                for each in self.entries.values()
                if each.queue == queue and not each.over and not each.holder and each.at <= now
            )
            for queue in "abc"
            if queue not in self.paused
        }
        expected, self.last = select(Selection(lines, self.last), limit, demand)
        given = self.do(self.store.claim(demand, limit=limit, holder=holder, lease=LEASE, wait=0.0))
        assert [each.message.id for each in given] == [place.id for place in expected]
        for delivery in given:
            entry = self.entries[delivery.message.id]
            assert (delivery.attempt, delivery.crashes) == (entry.attempt, entry.crashes)
            assert delivery.fence.token > self.tokens
            entry.token, entry.open, entry.holder, entry.lapsed = delivery.fence.token, True, holder.id, ""
            self.handed.append(delivery.fence)
        self.tokens = max([self.tokens, *(each.fence.token for each in given)])

    @rule(holder=holders)
    def extend(self, holder: Holder) -> None:
        self.renew(holder)
        told = self.do(self.store.extend(holder, lease=LEASE))
        cancelled = {each.fence.id for each in told if each.why == "cancelled"}
        assert cancelled == {each.id for each in self.entries.values() if each.holder == holder.id and each.flagged}

    @precondition(lambda self: self.handed)
    @rule(
        data=st.data(), kind=st.sampled_from(["finish", "retry", "release", "park"]), later=st.sampled_from([0.0, 4.0])
    )
    def settle(self, data: st.DataObject, kind: str, later: float) -> None:
        fence = data.draw(st.sampled_from(self.handed[-8:]))
        at = self.clock.time() + later
        settlements: dict[str, Settlement] = {
            "finish": Finish(fence, "succeeded"),
            "retry": Retry(fence, at, 2),
            "release": Release(fence, at),
            "park": Park(fence, at),
        }
        told = self.do(self.store.settle([settlements[kind]]))
        entry = self.entries[fence.id]
        if entry.token != fence.token:
            assert told == [Lost(fence, "superseded")]
        if entry.token != fence.token or not entry.open:
            return
        assert told == []
        entry.open = False
        if kind == "retry":
            entry.attempt, entry.crashes, entry.rank = 2, 0, rank_of(at, entry.priority)
        elif kind != "finish" and entry.lapsed:
            entry.crashes -= 1
        entry.holder = entry.lapsed = ""
        if kind == "finish":
            entry.over = "succeeded"
        elif entry.flagged:
            entry.over = "cancelled"
        else:
            entry.at = at

    @rule(id=ids)
    def cancel(self, id: str) -> None:
        (answer,) = self.do(self.store.apply([Cancel(id)]))
        entry = self.entries.get(id)
        assert answer.ok == (entry is not None and not entry.over)
        if entry is None or entry.over:
            return
        if entry.holder:
            entry.flagged = True
        else:
            entry.over, entry.lapsed, entry.open = "cancelled", "", False

    @rule(holder=holders, crashed=st.booleans())
    def forfeit(self, holder: Holder, crashed: bool) -> None:
        held = [each for each in self.entries.values() if each.holder == holder.id]
        assert self.do(self.store.forfeit(holder, crashed=crashed)) == len(held)
        for entry in self.entries.values():
            if entry.lapsed == holder.id:
                entry.lapsed = ""
        for entry in held:
            entry.holder = ""
            if entry.flagged:
                entry.over, entry.open = "cancelled", False
            else:
                entry.crashes += crashed

    @rule(queue=st.sampled_from("abc"), on=st.booleans())
    def pause(self, queue: str, on: bool) -> None:
        (answer,) = self.do(self.store.apply([Pause(queue, on)]))
        if answer.ok:
            (self.paused.add if on else self.paused.discard)(queue)

    @rule(seconds=st.sampled_from([0.5, 4.0, LEASE + 1]))
    def advance(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @invariant()
    def every_job_is_where_it_should_be(self) -> None:
        records = self.do(self.store.get(list(self.entries)))
        now = self.clock.time()
        for record, entry in zip(records, self.entries.values(), strict=True):
            assert record is not None
            waits = "ready" if entry.at <= now else "later"
            shown = "later" if record.state in ("scheduled", "parked") else record.state
            assert shown == (entry.over or ("running" if entry.holder else waits))
            assert (record.attempt, record.crashes) == (entry.attempt, entry.crashes)
        stats = self.do(self.store.stats([]))
        for queue, each in stats.items():
            assert each.depth == sum(entry.queue == queue and not entry.over for entry in self.entries.values())


def test_the_memory_store_gives_out_what_select_says() -> None:
    run_state_machine_as_test(Plain, settings=settings(max_examples=250, stateful_step_count=50))
