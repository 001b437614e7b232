"""Random histories on each store and on the memory store beside it: every answer, order, state and count must agree."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from msgspec import structs

from outlast.brokers.memory import MemoryStore
from outlast.core.exchanges.copies import copy_id
from outlast.core.exchanges.values import Binding, Exchange, ExchangeEvent, Routed
from outlast.core.limits import Limit
from outlast.core.matching import ArgIs
from outlast.core.message import Fence, State, Terminal
from outlast.core.moving import Adopt, Hold, Moved, Parcel, Unhold
from outlast.core.policy import DEFAULTS, Priority, Retention
from outlast.core.settlement import Exists, Finish, Full, Lost, Note, Park, Published, Release, Reschedule, Settlement
from outlast.core.store.control import Adjust, Cancel, Command, Edit, Pause, Prune, Purge, Redrive, RunNow
from outlast.core.store.records import Query
from outlast.core.store.store import CompleteStore
from outlast.core.store.totals import Outcome
from outlast.core.topology import Queue, Topology
from outlast.core.unique import Unique
from outlast.testing.clock import FakeClock
from tests.support.jobs import LEASE, A, B, C, failure, message, raw
from tests.support.stores import CASES, StoreCase

T = TypeVar("T")

QUEUES = ("q", "r")
EXCHANGES = (Exchange(name="orders"), Exchange(name="news", type="direct", unroutable="keep"))
PATTERNS = ("paid", "*", "#")
IDS = [f"{queue}.{n}" for queue in QUEUES for n in range(9)]
COPIES = [copy_id("orders", str(n), queue) for queue in QUEUES for n in range(3)]
IDS += COPIES
UNIQUES = [None, None, Unique("k"), Unique("k", "start"), Unique("k", seconds=20.0), Unique("l")]
UNIQUES += [Unique("k", replace=True), Unique("l", seconds=20.0, replace=True)]
BOUNDS: list[dict[str, Any]] = [
    {},
    {"max_depth": 3},
    {"max_depth": 6, "on_full": "shed"},
    {"max_depth": 5, "on_full": "shed", "per_key": Limit(concurrency=1)},
    {"max_bytes": 30},
    {"max_bytes": 40, "on_full": "shed"},
    {"max_age": 6, "max_depth": 5, "on_full": "shed"},
    {"max_age": 6},
    {"per_key": Limit(max_depth=2, max_bytes=25)},
    {"per_key": Limit(max_depth=2, max_bytes=25, max_age=10), "max_bytes": 60, "max_depth": 5, "on_full": "shed"},
]
"""What queue q may hold: there is always something at a bound."""
HOLDERS = (A, B, C)

LIMITED = [
    Queue(name="r"),
    Queue(name="r", weights={"ann": 2}, concurrency=3),
    Queue(name="r", per_key=Limit(concurrency=1), rate="1/s", burst=3),
    Queue(name="r", per_key=Limit(rate="1/2s", burst=2)),
]
CHANGES: list[dict[str, Any]] = [
    {"concurrency": 1},
    {"concurrency": None, "rate": None},
    {"per_key.concurrency": 2},
    {"per_key.rate": "1/s", "weights.bob": 3},
]

ids = st.sampled_from(IDS)
queues = st.sampled_from(QUEUES)
holders = st.sampled_from(HOLDERS)


bindings = st.builds(
    Binding,
    exchange=st.sampled_from([each.name for each in EXCHANGES]),
    queue=queues,
    kind=st.sampled_from(["send", "render"]),
    parameter=st.just("n"),
    key=st.sampled_from(PATTERNS),
    priority=st.sampled_from(["normal", "high"]),
    expires=st.sampled_from([None, 30.0]),
)


def rounded_answer(answer: Published) -> Published:
    """Return the answer of a store as far as stores agree on it.

    That is the time of a refusal, and not the kind of a removed job whose id has the form of a generated one.
    """
    if isinstance(answer, Exists) and answer.id in COPIES:
        return structs.replace(answer, kind="")
    return Full(round(answer.retry_after, 3), answer.bound) if isinstance(answer, Full) else answer


def rounded(routed: Routed) -> Routed:
    """Return what became of an event with such answers."""
    copies = tuple(structs.replace(copy, answer=rounded_answer(copy.answer)) for copy in routed.copies)
    return structs.replace(routed, copies=copies)


@dataclass(frozen=True)
class HandOut:
    """One hand-out as both stores gave it; `nr` names it where their fences differ."""

    nr: int
    fences: tuple[Fence, Fence]
    kind: str


@st.composite
def batches(draw: st.DrawFn) -> list[tuple[str, dict[str, Any]]]:
    options = st.fixed_dictionaries(
        {
            "delay": st.sampled_from([0.0, 0.0, 0.0, 5.0, 40.0]),
            "priority": st.sampled_from(["normal", "normal", "high", "low"]),
            "unique": st.sampled_from(UNIQUES),
            "expires": st.sampled_from([None, None, None, 8.0]),
            "key": st.sampled_from([None, "ann", "bob", "cat"]),
            "kind": st.sampled_from(["send", "render"]),
            "args": st.sampled_from([{"n": 1}, {"n": 22}, {"n": 7777777}]),
        }
    )
    return draw(st.lists(st.tuples(ids, options), min_size=1, max_size=4, unique_by=lambda each: each[0]))


class TwoStores(RuleBasedStateMachine):
    """The store under test (0) and the memory store (1) live through one history, on one clock."""

    case: StoreCase

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.folder = tempfile.TemporaryDirectory()
        self.clock = FakeClock()
        self.stores: tuple[CompleteStore, CompleteStore] = (
            self.case.make(Path(self.folder.name), self.clock, DEFAULTS.max_body),
            MemoryStore(self.clock),
        )
        self.both([store.open() for store in self.stores])
        self.given: list[HandOut] = []
        self.names: tuple[dict[Fence, int], dict[Fence, int]] = ({}, {})
        self.parcels: list[Parcel] = []
        self.totals: dict[tuple[str, str, Outcome], int] = {}
        self.steps = 0
        self.uncapped = True

    def teardown(self) -> None:
        self.both([store.close() for store in self.stores])
        self.runner.close()
        self.folder.cleanup()

    def both(self, calls: Sequence[Coroutine[Any, Any, T]]) -> tuple[T, T]:
        """Run one call on each store, and give both answers."""

        async def run() -> tuple[T, T]:
            return await calls[0], await calls[1]

        return self.runner.run(run())

    def same(self, calls: Sequence[Coroutine[Any, Any, T]]) -> T:
        """Run one call on each store; their answers must be equal."""
        tested, model = self.both(calls)
        assert tested == model
        return tested

    def same_lost(self, calls: Sequence[Coroutine[Any, Any, list[Lost]]]) -> None:
        answers = self.both(calls)
        tested, model = (
            sorted((self.names[side][each.fence], each.why) for each in answer) for side, answer in enumerate(answers)
        )
        assert tested == model

    def tick(self) -> None:
        """Let no two steps end jobs at the same time: which of them is the older would not be said."""
        self.clock.advance(0.001)

    @initialize(
        bounds=st.sampled_from(BOUNDS),
        records=st.sampled_from([0, 1, 100]),
        ttl=st.sampled_from([25.0, 1e6]),
        r=st.sampled_from(LIMITED),
    )
    def declare(self, bounds: dict[str, Any], records: int, ttl: float, r: Queue) -> None:
        self.uncapped = records == 100
        retention = Retention(records=records, record_ttl=ttl, dead_ttl=ttl * 2)
        queues = (Queue(name="q", retention=retention, **bounds), r)
        topology = Topology(queues, exchanges=EXCHANGES, kinds_of={"q": ("send",), "r": ("render",)})
        self.same([store.declare(topology) for store in self.stores])

    @rule(bounds=st.sampled_from(BOUNDS), queue=queues)
    def adjust(self, bounds: dict[str, Any], queue: str) -> None:
        flat = {name: value for name, value in bounds.items() if name != "per_key"}
        each = bounds.get("per_key", Limit())
        flat |= {
            f"per_key.{name}": getattr(each, name) for name in ("max_depth", "max_bytes", "max_age", "concurrency")
        }
        self.command(Adjust(queue, flat, reset=("max_depth", "max_bytes", "max_age", "on_full")))

    @rule(batch=batches())
    def publish(self, batch: list[tuple[str, dict[str, Any]]]) -> None:
        messages = [message(id, self.clock.time(), **options) for id, options in batch]
        tested, model = self.both([store.publish(messages) for store in self.stores])
        assert [rounded_answer(each) for each in tested] == [rounded_answer(each) for each in model]
        self.steps += 1

    @rule(binding=bindings)
    def bind(self, binding: Binding) -> None:
        self.same([store.declare(Topology(bindings=(binding,))) for store in self.stores])

    @rule(some=st.lists(bindings, max_size=3))
    def unbind(self, some: list[Binding]) -> None:
        self.same([store.unbind(some, []) for store in self.stores])

    @rule(
        some=st.lists(
            st.tuples(
                st.sampled_from(["orders", "orders", "news"]),
                st.integers(0, 2),
                st.sampled_from(["paid", "a.b"]),
                st.sampled_from([None, 8.0]),
            ),
            min_size=1,
            max_size=3,
        )
    )
    def publish_events(self, some: list[tuple[str, int, str, float | None]]) -> None:
        now = self.clock.time()
        events = [
            ExchangeEvent(
                id=str(n),
                exchange=exchange,
                key=key,
                body=raw(n),
                at=now,
                expires_at=None if expires is None else now + expires,
            )
            for exchange, n, key, expires in some
        ]
        tested, model = self.both([store.publish_events(events) for store in self.stores])
        assert [rounded(each) for each in tested] == [rounded(each) for each in model]
        known, expected = self.both([store.bindings() for store in self.stores])
        assert (known.exchanges, known.bindings) == (expected.exchanges, expected.bindings)

    @rule(batch=batches(), holder=holders, replace=st.booleans())
    def update(self, batch: list[tuple[str, dict[str, Any]]], holder: Any, replace: bool) -> None:
        """Enqueue for one key again and again, while a job of it runs."""
        unique = Unique("k", replace=replace)
        self.publish([(id, {**options, "unique": unique}) for id, options in batch])
        self.claim(holder, 2, {"q": 2})

    @rule(holder=holders, limit=st.integers(1, 4), demand=st.dictionaries(queues, st.integers(0, 3), min_size=1))
    def claim(self, holder: Any, limit: int, demand: dict[str, int]) -> None:
        self.tick()
        tested, model = self.both(
            [store.claim(demand, limit=limit, holder=holder, lease=LEASE, wait=0.0) for store in self.stores]
        )
        assert [(each.message, each.attempt, each.crashes) for each in tested] == [
            (each.message, each.attempt, each.crashes) for each in model
        ]
        for pair in zip(tested, model, strict=True):
            handed = HandOut(len(self.given), (pair[0].fence, pair[1].fence), pair[0].message.kind)
            for side in (0, 1):
                assert handed.fences[side] not in self.names[side], "a fence was given twice"
                self.names[side][handed.fences[side]] = handed.nr
            self.given.append(handed)
        if not tested:
            self.extend(holder)  # a claim that gives nothing may leave the lease as it was

    @precondition(lambda self: self.given)
    @rule(data=st.data())
    def settle(self, data: st.DataObject) -> None:
        self.tick()
        # Ends in one batch are of one time: a cap on records could take either, so there it is one at a time.
        chosen = data.draw(
            st.lists(
                st.sampled_from(self.given[-10:]),
                min_size=1,
                max_size=3 if self.uncapped else 1,
                unique_by=lambda handed: handed.nr,
            )
        )
        sides: tuple[list[Settlement], list[Settlement]] = ([], [])
        for handed in chosen:
            for side, one in enumerate(self.settlement(data, handed, alone=len(chosen) == 1)):
                sides[side].append(one)
        self.same_lost([store.settle(sides[side]) for side, store in enumerate(self.stores)])

    def settlement(self, data: st.DataObject, handed: HandOut, *, alone: bool) -> tuple[Settlement, Settlement]:
        kind = data.draw(st.sampled_from(["done", "done", "result", "end", "then", "retry", "release", "park"]))
        at = self.clock.time() + data.draw(st.sampled_from([0.0, 5.0, 30.0]))
        # Whether a follow-up meets the key of a job that ends in the same batch is not said.
        unique = data.draw(st.sampled_from(UNIQUES)) if alone else None
        follow = [message(data.draw(ids), self.clock.time(), unique=unique)]
        state: Terminal = data.draw(st.sampled_from(["dead", "cancelled", "expired"]))
        attempt, crashes = data.draw(st.integers(1, 3)), data.draw(st.integers(0, 2))
        now = data.draw(st.booleans())
        told = handed.kind if data.draw(st.booleans()) else ""

        def one(fence: Fence) -> Settlement:
            match kind:
                case "done":
                    return Finish(fence, "succeeded", kind=told)
                case "result":
                    return Finish(fence, "succeeded", result=raw([1]), result_ttl=50.0)
                case "end":
                    return Finish(fence, state, "why", error=failure(attempt))
                case "then":
                    return Finish(fence, "succeeded", then=follow)
                case "retry":
                    return Reschedule(fence, at, attempt, failure(attempt), crashes=crashes)
                case "release":
                    return Release(fence, None if now else at)
                case _:
                    return Park(fence, at)

        return one(handed.fences[0]), one(handed.fences[1])

    @precondition(lambda self: self.given)
    @rule(data=st.data())
    def save(self, data: st.DataObject) -> None:
        handed = data.draw(st.sampled_from(self.given[-10:]))
        value = raw(data.draw(st.integers(0, 9)))
        self.same_lost(
            [store.save([Note(handed.fences[side], "progress", value)]) for side, store in enumerate(self.stores)]
        )

    @rule(holder=holders)
    def extend(self, holder: Any) -> None:
        self.same_lost([store.extend(holder, lease=LEASE) for store in self.stores])

    @rule(holder=holders, crashed=st.booleans())
    def forfeit(self, holder: Any, crashed: bool) -> None:
        self.tick()
        self.same([store.forfeit(holder, crashed=crashed) for store in self.stores])

    @rule(seconds=st.sampled_from([0.5, 4.0, LEASE + 1, 45.0]))
    def advance(self, seconds: float) -> None:
        self.clock.advance(seconds)

    def command(self, command: Command) -> None:
        self.tick()
        self.same([store.apply([command]) for store in self.stores])

    @rule(id=ids)
    def cancel(self, id: str) -> None:
        self.command(Cancel(id))

    @rule(id=ids)
    def redrive(self, id: str) -> None:
        self.command(Redrive(id))

    @rule(id=ids)
    def run_now(self, id: str) -> None:
        self.command(RunNow(id))

    @rule(
        id=ids,
        args=st.sampled_from([None, raw({"edited": 1})]),
        change=st.sampled_from([None, raw({"more": 1})]),
        priority=st.sampled_from([None, "high", "low"]),
        later=st.sampled_from([None, 0.0, 15.0]),
    )
    def edit(self, id: str, args: Any, change: Any, priority: Priority | None, later: float | None) -> None:
        self.command(Edit(id, args, priority, None if later is None else self.clock.time() + later, change))

    @rule(id=ids, why=st.sampled_from(["moving to x", "moving to x", "moving to y"]))
    def hold(self, id: str, why: str) -> None:
        self.tick()
        (answer,) = self.same([store.apply([Hold(id, why)]) for store in self.stores])
        if answer.parcel is not None:
            self.parcels.append(answer.parcel)

    @rule(id=ids, again=st.booleans())
    def unhold(self, id: str, again: bool) -> None:
        self.command(Unhold(id) if again else Moved(id))

    @precondition(lambda self: self.parcels)
    @rule(data=st.data())
    def adopt(self, data: st.DataObject) -> None:
        self.command(Adopt(data.draw(st.sampled_from(self.parcels[-5:])), "moving from x"))

    @rule(queue=queues, changes=st.sampled_from(CHANGES), reset=st.booleans())
    def set_limits(self, queue: str, changes: dict[str, Any], reset: bool) -> None:
        self.command(Adjust(queue, {}, tuple(changes)) if reset else Adjust(queue, changes))

    @rule(queue=queues, on=st.booleans())
    def pause(self, queue: str, on: bool) -> None:
        self.command(Pause(queue, on))

    @rule(id=ids, states=st.sampled_from([(), (), ("dead",), ("ready", "expired", "running")]))
    def purge(self, id: str, states: tuple[State, ...]) -> None:
        self.command(Purge(id=id, states=states))

    @rule(
        which=st.sampled_from(
            [
                Purge(queue="q", states=("dead", "ready")),
                Purge(key="ann"),
                Purge(queue="r"),
                Purge(queue="q", key="bob"),
                Purge(key="ann", states=("scheduled", "cancelled", "expired")),
            ]
        )
    )
    def purge_many(self, which: Purge) -> None:
        self.command(which)

    @invariant()
    def looks_the_same(self) -> None:
        self.both([store.apply([Prune()]) for store in self.stores])  # when it is applied is the store's own affair
        self.same([store.get(IDS) for store in self.stores])
        self.same([store.count(Query()) for store in self.stores])
        self.never_falls(self.same([store.totals() for store in self.stores]))
        tested, model = self.both([store.stats([]) for store in self.stores])
        assert set(tested) == set(model)
        for name, stats in tested.items():
            shown, expected = (
                {key: getattr(each, key) for key in each.__struct_fields__} for each in (stats, model[name])
            )
            for measured in ("oldest", "drain_rate"):
                values = shown.pop(measured), expected.pop(measured)
                if measured == "drain_rate" or stats.ready <= 1:  # which of several is the first, is not said
                    assert values[0] == pytest.approx(values[1], abs=1e-6), (name, measured)
            assert shown == expected

    def never_falls(self, totals: dict[tuple[str, str, Outcome], int]) -> None:
        assert all(totals[of] >= count for of, count in self.totals.items())
        self.totals = totals

    @rule(
        states=st.lists(st.sampled_from(["ready", "scheduled", "running", "waiting", "dead", "expired"]), max_size=2),
        key=st.sampled_from([None, "ann"]),
        reason=st.sampled_from([None, None, "why", "expired", "moved"]),
        args=st.sampled_from([(), (), (ArgIs(("n",), (1, 2)),), (ArgIs(("edited",), (1,)),)]),
    )
    def find(self, states: Any, key: str | None, reason: str | None, args: Any) -> None:
        query = Query(states=tuple(states), key=key, reason=reason, args=args, limit=3)
        self.same([store.count(query) for store in self.stores])
        pages = self.both([store.find(query) for store in self.stores])
        assert pages[0].records == pages[1].records
        following = [structs.replace(query, cursor=page.cursor or "0") for page in pages]
        assert [(page.cursor is None) for page in pages] in ([True, True], [False, False])
        rest = self.both([store.find(following[side]) for side, store in enumerate(self.stores)])
        assert rest[0].records == rest[1].records


@pytest.mark.timeout(600)  # a failure is made small first, which takes minutes
@pytest.mark.parametrize(
    "case", [case for case in CASES if case.name != "memory" and not case.spread], ids=lambda case: case.name
)
def test_a_store_lives_like_the_memory_store(case: StoreCase) -> None:
    machine = type("Machine", (TwoStores,), {"case": case})
    examples = settings().max_examples // 2  # HYPOTHESIS_PROFILE=explore tries a thousand
    run_state_machine_as_test(machine, settings=settings(max_examples=examples, stateful_step_count=40))
