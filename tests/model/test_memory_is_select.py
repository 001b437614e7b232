"""Random histories on the memory store and on a page of plain lists that says by itself who is next."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass, field
from random import Random
from typing import Any, TypeVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from outlast.brokers.memory import MemoryStore
from outlast.core.limits import Limit, nanos
from outlast.core.message import Fence, Holder, rank_of
from outlast.core.policy import Priority
from outlast.core.settlement import ACCEPTED, Exists, Finish, Lost, Park, Release, Reschedule, Settlement
from outlast.core.store.control import Adjust, Cancel, Pause
from outlast.core.topology import Queue, Topology, adjusted
from outlast.testing.clock import FakeClock
from tests.support.jobs import LEASE, A, B, message

T = TypeVar("T")

IDS = [f"{queue}.{n}" for queue in "abc" for n in range(40)]
ids = st.sampled_from(IDS)
jobs = st.tuples(
    ids,
    st.sampled_from([0.0, 0.0, 0.0, 3.0, 30.0]),
    st.sampled_from(["high", "normal", "normal", "low"]),
    st.sampled_from([None, "ann", "ann", "bob", "bob", "cat"]),
)
holders = st.sampled_from((A, B))
DECLARED = {
    "a": Queue(name="a", weights={"ann": 2}, per_key=Limit(concurrency=1)),
    "b": Queue(name="b", concurrency=3, per_key=Limit(rate="2/8s", burst=2)),
    "c": Queue(name="c", rate="3/6s", burst=3),
}


ADJUSTMENTS: list[tuple[dict[str, Any], tuple[str, ...]]] = [
    ({"concurrency": 2}, ()),
    ({"concurrency": None}, ("rate",)),
    ({"rate": None}, ("concurrency",)),
    ({"rate": "1/s"}, ()),
    ({"weights.bob": 3}, ()),
    ({"per_key.concurrency": 2}, ("per_key.rate",)),
    ({"per_key.concurrency": None, "per_key.rate": None}, ()),
    ({}, ("concurrency", "rate", "per_key.concurrency", "per_key.rate", "weights.bob")),
]


@dataclass
class Entry:
    """One job in the plain model. over: it ended; holder: who runs it; lapsed: who ran it and may take it back."""

    id: str
    order: int
    rank: int
    at: float
    priority: Priority
    key: str | None = None
    ready: bool = False
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


@dataclass
class Ring:
    """A queue's keys in the order of their turns, None the keyless jobs; and those that are parked, until when."""

    queue: Queue
    order: list[str | None] = field(default_factory=lambda: [None])
    parked: dict[str, tuple[str, int, int]] = field(default_factory=dict)
    """Key -> (why, until, the turn it had)."""
    given: dict[str, int] = field(default_factory=dict)
    paid: dict[str, int] = field(default_factory=dict)
    """What each key's rate has to remember; "" the queue's own."""
    joined: dict[str, int] = field(default_factory=dict)
    joins: int = 0

    def join(self, key: str | None) -> None:
        """Stand at the back."""
        if key is None or key in self.order or key in self.parked:
            return
        self.order.append(key)
        self.joins += 1
        self.joined[key] = self.joins

    def to_back(self, key: str | None) -> None:
        """Go to the back."""
        self.order.remove(key)
        self.order.append(key)
        self.joins += 1
        if key is not None:
            self.given.pop(key, None)
            self.joined[key] = self.joins

    def leave(self, key: str) -> None:
        self.order.remove(key)
        self.given.pop(key, None)

    def unpark(self, key: str) -> None:
        del self.parked[key]
        self.join(key)


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
        self.rings = {name: Ring(queue) for name, queue in DECLARED.items()}
        self.changes: dict[str, dict[str, Any]] = {name: {} for name in DECLARED}
        self.do(self.store.declare(Topology(tuple(DECLARED.values()))))

    def teardown(self) -> None:
        self.runner.close()

    def do(self, call: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(call)

    @rule(batch=st.lists(jobs, min_size=1, max_size=8, unique_by=lambda each: each[0]))
    def publish(self, batch: list[tuple[str, float, Priority, str | None]]) -> None:
        now = self.clock.time()
        sent = [message(id, now, delay=delay, priority=priority, key=key) for id, delay, priority, key in batch]
        answers = self.do(self.store.publish(sent))
        for (id, delay, priority, key), answer in zip(batch, answers, strict=True):
            if id in self.entries:
                assert answer == Exists(id, "id", "send")
                continue
            assert answer == ACCEPTED
            at = now + delay
            entry = self.entries[id] = Entry(id, len(self.entries), rank_of(at, priority), at, priority, key)
            self.wait(entry, at)

    def wait(self, entry: Entry, at: float) -> None:
        """Let a job wait until `at`; due, it is ready and its key stands in the ring."""
        entry.at = at
        entry.ready = at <= self.clock.time()
        if entry.ready:
            self.rings[entry.queue].join(entry.key)

    def running(self, queue: str, key: str | None = None) -> int:
        return sum(
            bool(each.holder) and each.queue == queue and key in (None, each.key) for each in self.entries.values()
        )

    def waiting(self, queue: str, key: str | None) -> list[Entry]:
        found = [each for each in self.entries.values() if each.ready and each.queue == queue and each.key == key]
        return sorted(found, key=lambda each: (each.rank, each.order))

    def may_begin(self, entry: Entry) -> bool:
        queue = self.rings[entry.queue].queue
        most, each = queue.concurrency, queue.per_key.concurrency
        return (most is None or self.running(entry.queue) < most) and (
            entry.key is None or each is None or self.running(entry.queue, entry.key) < each
        )

    def freed(self, entry: Entry) -> None:
        ring = self.rings[entry.queue]
        if entry.key is not None and ring.parked.get(entry.key, ("", 0, 0))[0] == "slot":
            ring.unpark(entry.key)

    def room(self, ring: Ring) -> int:
        queue, room = ring.queue, 99
        if queue.concurrency is not None:
            room = max(0, queue.concurrency - self.running(queue.name))
        if queue.gcra is not None:
            room = min(room, queue.gcra.room(ring.paid.get("", 0), nanos(self.clock.time())))
        return room

    def blocked(self, ring: Ring, key: str) -> tuple[str, int, int] | None:
        """Say why a key may not begin one more, until when, and the turn it has."""
        each, now = ring.queue.per_key, nanos(self.clock.time())
        if each.concurrency is not None and self.running(ring.queue.name, key) >= each.concurrency:
            return "slot", now + 10 * 10**9, ring.joined[key]
        if each.gcra is not None and each.gcra.room(ring.paid.get(key, 0), now) < 1:
            return "rate", each.gcra.next_at(ring.paid.get(key, 0), now), ring.joined[key]
        return None

    def pick(self, ring: Ring, holder: Holder) -> Entry | None:
        """Say who is next in a queue, and let the ring go on."""
        now, name = nanos(self.clock.time()), ring.queue.name
        for key in list(ring.order):
            waiting = self.waiting(name, key)
            if key is None:
                if not waiting:
                    continue
                ring.to_back(None)
            elif not waiting:
                ring.leave(key)
                continue
            elif (why := self.blocked(ring, key)) is not None:
                ring.leave(key)
                ring.parked[key] = why
                continue
            entry = waiting[0]
            entry.ready, entry.holder, entry.lapsed = False, holder.id, ""
            if ring.queue.gcra is not None:
                ring.paid[""] = ring.queue.gcra.taken(ring.paid.get("", 0), now, 1)
            if key is not None:
                each = ring.queue.per_key.gcra
                if each is not None:
                    ring.paid[key] = each.taken(ring.paid.get(key, 0), now, 1)
                ring.given[key] = ring.given.get(key, 0) + 1
                why = self.blocked(ring, key)
                if len(waiting) == 1:
                    ring.leave(key)
                elif why is not None:
                    ring.leave(key)
                    ring.parked[key] = why
                elif ring.given[key] >= ring.queue.weights.get(key, 1):
                    ring.to_back(key)
            return entry
        return None

    def renew(self, holder: Holder) -> None:
        self.leases[holder.id] = self.clock.monotonic() + LEASE
        held = [each for each in self.entries.values() if each.lapsed == holder.id]
        for entry in sorted(held, key=lambda each: each.order):
            entry.lapsed = ""
            if self.may_begin(entry):
                entry.holder, entry.ready = holder.id, False
                entry.crashes -= 1
            else:
                entry.open = False  # its slot is somebody else's now

    def lapse(self) -> None:
        gone = {id for id, until in self.leases.items() if until <= self.clock.monotonic()}
        for entry in sorted(self.entries.values(), key=lambda each: (each.holder, each.order)):
            if entry.holder in gone:
                if entry.flagged:
                    entry.over, entry.holder, entry.open = "cancelled", "", False
                else:
                    entry.lapsed, entry.holder = entry.holder, ""
                    entry.crashes += 1
                    self.wait(entry, min(entry.at, self.clock.time()))
                self.freed(entry)

    @rule(
        holder=holders,
        limit=st.integers(1, 6),
        demand=st.dictionaries(st.sampled_from("abc"), st.integers(0, 5), min_size=1),
    )
    def claim(self, holder: Holder, limit: int, demand: dict[str, int]) -> None:
        self.renew(holder)
        self.lapse()
        now = self.clock.time()
        queues = []
        for queue in sorted(demand):
            ring = self.rings[queue]
            most = min(demand[queue], self.room(ring))
            if queue in self.paused or most < 1:
                continue
            due = [each for each in self.entries.values() if each.queue == queue and self.due(each, now)]
            for entry in sorted(due, key=lambda each: (each.at, each.order)):
                self.wait(entry, entry.at)
            woken = [(until, turn, key) for key, (_, until, turn) in ring.parked.items() if until <= nanos(now)]
            for _, _, key in sorted(woken):
                ring.unpark(key)
            queues.append((queue, most))
        queues = [each for each in queues if each[0] > self.last] + [each for each in queues if each[0] <= self.last]
        expected: list[str] = []
        rounds = 0
        while queues and len(expected) < limit:
            going = []
            for queue, most in queues:
                if len(expected) == limit:
                    break
                picked = self.pick(self.rings[queue], holder)
                if picked is not None:
                    expected.append(picked.id)
                    self.last = queue
                    if rounds + 1 < most:
                        going.append((queue, most))
            queues, rounds = going, rounds + 1
        given = self.do(self.store.claim(demand, limit=limit, holder=holder, lease=LEASE, wait=0.0))
        assert [each.message.id for each in given] == expected
        for delivery in given:
            entry = self.entries[delivery.message.id]
            assert (delivery.attempt, delivery.crashes) == (entry.attempt, entry.crashes)
            assert delivery.fence.token > self.tokens
            entry.token, entry.open = delivery.fence.token, True
            self.handed.append(delivery.fence)
        self.tokens = max([self.tokens, *(each.fence.token for each in given)])

    def due(self, entry: Entry, now: float) -> bool:
        return not (entry.over or entry.holder or entry.ready) and entry.at <= now

    @rule(holder=holders)
    def extend(self, holder: Holder) -> None:
        self.renew(holder)
        told = self.do(self.store.extend(holder, lease=LEASE))
        cancelled = {each.fence.id for each in told if each.why == "cancelled"}
        assert cancelled == {each.id for each in self.entries.values() if each.holder == holder.id and each.flagged}

    @precondition(lambda self: self.handed)
    @rule(
        back=st.integers(0, 11),
        kind=st.sampled_from(["finish", "retry", "release", "park"]),
        later=st.sampled_from([0.0, 4.0]),
    )
    def settle(self, back: int, kind: str, later: float) -> None:
        fence = self.handed[-1 - back % len(self.handed)]
        at = self.clock.time() + later
        settlements: dict[str, Settlement] = {
            "finish": Finish(fence, "succeeded"),
            "retry": Reschedule(fence, at, 2),
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
        if kind == "retry" and not entry.flagged:  # no other attempt begins of one that was cancelled
            entry.attempt, entry.crashes, entry.rank = 2, 0, rank_of(at, entry.priority)
        elif kind in ("release", "park") and entry.lapsed:
            entry.crashes -= 1
        ran = bool(entry.holder)
        entry.holder = entry.lapsed = ""
        entry.ready = False
        if kind == "finish":
            entry.over = "succeeded"
        elif entry.flagged:
            entry.over = "cancelled"
        else:
            self.wait(entry, at)
        if ran:
            self.freed(entry)

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
            entry.over, entry.lapsed, entry.open, entry.ready = "cancelled", "", False, False

    @rule(queue=st.sampled_from("abc"), how=st.sampled_from(ADJUSTMENTS))
    def adjusts(self, queue: str, how: tuple[dict[str, Any], tuple[str, ...]]) -> None:
        self.adjust(queue, *how)

    def adjust(self, queue: str, change: dict[str, Any], reset: tuple[str, ...]) -> None:
        ring = self.rings[queue]
        kept = {name: value for name, value in self.changes[queue].items() if name not in reset}
        self.changes[queue] = kept | change
        changed = adjusted(DECLARED[queue], self.changes[queue])
        (answer,) = self.do(self.store.apply([Adjust(queue, change, reset)]))
        assert answer.changed == (changed != ring.queue)
        if changed != ring.queue:
            ring.queue = changed
            if changed.per_key.rate is None:
                ring.paid = {"": ring.paid.get("", 0)}
            for key in sorted(ring.parked, key=ring.joined.__getitem__):
                ring.unpark(key)

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
                self.wait(entry, min(entry.at, self.clock.time()))
            self.freed(entry)

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


def test_the_memory_store_gives_out_what_plain_lists_say() -> None:
    run_state_machine_as_test(
        Plain, settings=settings(max_examples=settings().max_examples // 2, stateful_step_count=50)
    )


@pytest.mark.parametrize("seed", range(5))
def test_long_histories_of_many_keys(seed: int) -> None:
    """Denser than hypothesis makes them: lines are long, rings go round, limits are full most of the time."""
    rng = Random(seed)
    plain = Plain()
    fresh = iter(range(10**6))

    def batch() -> list[tuple[str, float, Priority, str | None]]:
        priorities: list[Priority] = ["high", "normal", "normal", "low"]
        return [
            (
                f"{rng.choice('abc')}.{next(fresh)}",
                rng.choice([0.0, 0.0, 0.0, 3.0]),
                rng.choice(priorities),
                rng.choice([None, "ann", "bob", "cat", "dan"]),
            )
            for _ in range(rng.randint(1, 6))
        ]

    def step() -> None:
        match rng.choices(range(7), (3, 8, 10, 1, 0.5, 0.3, 2))[0]:
            case 0:
                plain.publish(batch())
            case 1:
                plain.claim(rng.choice((A, B)), rng.randint(1, 6), {name: rng.randint(0, 5) for name in "abc"})
            case 2 if plain.handed:
                kinds = ("finish", "finish", "retry", "release", "park")
                plain.settle(rng.randint(0, 11), rng.choice(kinds), rng.choice((0.0, 2.0)))
            case 3 if plain.entries:
                plain.cancel(rng.choice(list(plain.entries)[-60:]))
            case 4:
                plain.forfeit(rng.choice((A, B)), rng.random() < 0.5)
            case 5:
                plain.adjust(rng.choice("abc"), *rng.choice(ADJUSTMENTS))
            case 6:
                plain.advance(rng.choice((0.3, 1.0, 3.0, LEASE + 1)))

    for _ in range(1500):
        step()
        plain.every_job_is_where_it_should_be()
    plain.teardown()
    assert len(plain.handed) > 300
