"""A worker's own life, over each store: its bounds, its stop, and a store that fails."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any, NoReturn

import pytest

from outlast import Constant, Context, Outlast, Retry, Settings
from outlast.aio.clock import SystemClock
from outlast.brokers.memory import MemoryStore
from outlast.core.errors import ConfigurationError, StoreCorrupt, StoreError, StoreFull, StoreUnavailable
from outlast.core.events import Event, JobEnded, JobEnqueued, QueueUnattended
from outlast.core.message import Delivery, Holder
from outlast.core.policy import DEFAULTS
from outlast.core.settlement import Finish, Lost, Settlement
from outlast.core.store.control import Pause
from outlast.core.store.records import JobRecord
from outlast.core.store.store import Store
from outlast.enqueue.runtime import Runtime
from outlast.enqueue.wiring import wire
from outlast.testing.clock import FakeClock
from outlast.worker import Worker
from outlast.worker.consumer_watch import ConsumerWatch
from outlast.worker.outages import Outages, StoreStalled
from outlast.worker.store_link import StoreLink
from outlast.worker.worker import WorkerTorn
from tests.support.polling import until
from tests.support.working import new_app, record, working


async def test_no_more_run_at_once_than_there_are_slots_and_none_is_hoarded(app: Outlast) -> None:
    gate, running, most = asyncio.Event(), 0, 0
    three = asyncio.Event()

    @app.job
    async def holds() -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        if running == 3:
            three.set()
        await gate.wait()
        running -= 1

    jobs = [await holds.enqueue() for _ in range(10)]
    async with working(app, concurrency=3):
        await three.wait()
        store = (await app.runtime()).store
        found = (await store.broker.stats(["default"]))["default"]
        assert (found.running, found.ready) == (3, 7)
        gate.set()
        for job in jobs:
            await record(app, job)
    assert most == 3


async def test_a_stop_lets_the_running_jobs_end_and_starts_none(app: Outlast) -> None:
    started, gate = asyncio.Event(), asyncio.Event()
    ran: list[int] = []

    @app.job
    async def holds(n: int) -> None:
        ran.append(n)
        started.set()
        await gate.wait()

    first, second = await holds.enqueue(1), await holds.enqueue(2)
    stop = asyncio.Event()
    task = asyncio.create_task(Worker(await app.runtime(), concurrency=1).run(stop))
    await started.wait()
    stop.set()
    await asyncio.sleep(0)
    gate.set()
    await task
    assert ran == [1]
    assert (await first.status(), await second.status()) == ("succeeded", "ready")


async def test_what_does_not_end_within_the_grace_is_given_back_with_its_attempt(url: str) -> None:
    app = new_app(url, drain_grace=0.05)
    started = asyncio.Event()

    @app.job
    async def holds() -> None:
        started.set()
        await asyncio.Event().wait()

    async with app:
        job = await holds.enqueue()
        async with working(app):
            await started.wait()
        (found,) = await (await app.runtime()).store.records.get([job.id])
        assert found is not None
        assert (found.state, found.attempt, found.begun, found.crashes, found.failures) == ("ready", 1, True, 0, ())


async def test_a_second_signal_ends_the_grace(app: Outlast) -> None:
    started = asyncio.Event()

    @app.job
    async def holds() -> None:
        started.set()
        await asyncio.Event().wait()

    job = await holds.enqueue()
    async with working(app) as worker:
        await started.wait()
        worker.end_grace()
    assert await job.status() == "ready"


async def test_a_job_that_waits_for_a_slot_at_a_stop_has_not_begun(app: Outlast) -> None:
    started = asyncio.Event()

    @app.job
    async def holds() -> None:
        started.set()
        await asyncio.Event().wait()

    jobs = [await holds.enqueue() for _ in range(2)]
    async with working(app, concurrency=1) as worker:
        await started.wait()
        worker.end_grace()
    found = await (await app.runtime()).store.records.get([job.id for job in jobs])
    assert [each is not None and each.begun for each in found] == [True, False]


async def test_a_handler_that_ignores_its_cancellation_does_not_keep_the_worker(
    url: str, caplog: pytest.LogCaptureFixture
) -> None:
    app = new_app(url, drain_grace=0.05)
    started, gate = asyncio.Event(), asyncio.Event()
    tasks: list[asyncio.Task[Any] | None] = []

    @app.job
    async def stubborn() -> None:
        tasks.append(asyncio.current_task())
        started.set()
        while not gate.is_set():
            try:
                await gate.wait()
            except asyncio.CancelledError:
                continue

    async with app:
        job = await stubborn.enqueue()
        async with working(app):
            await started.wait()
        assert await job.status() == "ready"
    told = len(caplog.records)
    gate.set()
    await asyncio.gather(*(task for task in tasks if task is not None))
    settlers = [task for task in asyncio.all_tasks() if task.get_name() == "outlast settler"]
    assert settlers == []  # the store is closed, and its end is nobody's concern any more
    assert caplog.records[told:] == []


async def test_a_job_whose_thread_goes_on_is_handed_back_without_a_crash(url: str) -> None:
    app = new_app(url, drain_grace=0.05)
    started, gate = threading.Event(), threading.Event()

    @app.job
    def holds() -> None:
        started.set()
        gate.wait(60)

    async with app:
        job = await holds.enqueue()
        try:
            async with working(app):
                await asyncio.to_thread(started.wait, 30)
            (found,) = await (await app.runtime()).store.records.get([job.id])
            assert found is not None
            assert (found.state, found.attempt, found.begun, found.crashes) == ("ready", 1, True, 0)
        finally:
            gate.set()


async def test_a_cancelled_worker_gives_back_what_it_ran(app: Outlast) -> None:
    started = asyncio.Event()

    @app.job
    async def holds() -> None:
        started.set()
        await asyncio.Event().wait()

    job = await holds.enqueue()
    task = asyncio.create_task(Worker(await app.runtime()).run(asyncio.Event()))
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await job.status() == "ready"


async def test_a_job_that_closes_its_app_takes_the_store_from_no_worker(app: Outlast) -> None:
    """As code that was written for a script does."""

    @app.job
    async def closes() -> None:
        await app.close()
        async with app:
            await app.runtime()

    @app.job
    async def works() -> None: ...

    async with working(app, concurrency=1):
        first, second = await closes.enqueue(), await works.enqueue()
        assert (await record(app, first)).state == "succeeded"
        assert (await record(app, second)).state == "succeeded"
        runtime = await app.runtime()
    await app.close()
    assert await app.runtime() is not runtime


async def test_a_job_that_closes_its_app_takes_the_toolkit_from_no_worker(tmp_path: Path) -> None:
    """Not on its own loop, nor on that where the locks of the worker are renewed."""
    settings = Settings(url="memory:", toolkit_url=f"sqlite:{tmp_path / 'kit.db'}", toolkit_timeout=60)
    app = Outlast("shop", settings=settings)
    kit = app._toolkit()

    def stores() -> list[object]:
        return [opened.store for opened in kit._loops if not opened.closed]

    @app.job
    async def closes() -> bool:
        await kit.check()
        await asyncio.to_thread(kit.use_sync, opened)
        before = stores()
        await app.close()
        return len(before) == 2 and stores() == before

    async def opened(store: object) -> object:
        return store

    async with working(app, concurrency=1):
        ended = await record(app, await closes.enqueue())
        assert (ended.state, await app.handle(ended.id).result()) == ("succeeded", True)
    await app.close()
    assert stores() == []


async def test_an_error_that_is_not_of_the_store_tears_the_worker() -> None:
    """A job can cause it: who had started is to be found out, and nothing written."""
    torn: list[str] = []

    def tear(why: str) -> NoReturn:
        torn.append(why)
        raise SystemExit

    class Broken(Flaky):
        async def claim(self, *args: Any, **options: Any) -> list[Delivery]:
            raise MemoryError

    app, store = new_app("memory:"), Broken()

    @app.job
    async def work() -> None: ...

    runtime = await flaky_runtime(app, store)
    with pytest.raises(MemoryError):
        await Worker(runtime).run(asyncio.Event())
    with pytest.raises(SystemExit):
        Worker(runtime, torn=tear)._inner_failed(MemoryError(), "outlast claimer")
    assert "outlast claimer" in torn[0]
    await store.close()


@pytest.mark.parametrize("name", ["outlast claimer", "outlast consumer watch"])
async def test_a_worker_whose_own_task_is_ended_by_a_job_gives_back_what_it_ran_and_says_so(
    app: Outlast, name: str
) -> None:
    @app.job
    async def cancels() -> None:
        for task in asyncio.all_tasks():
            if task.get_name() == name:
                task.cancel()

    @app.job
    async def holds() -> None:
        await asyncio.Event().wait()

    beside = await holds.enqueue()
    job = await cancels.enqueue()
    worker = Worker(await app.runtime())
    task = asyncio.create_task(worker.run(asyncio.Event()))
    await record(app, job)
    worker.end_grace()
    with pytest.raises(WorkerTorn, match=name):
        await task
    (found,) = await (await app.runtime()).store.records.get([beside.id])
    assert found is not None
    assert (found.state, found.attempt, found.crashes) == ("ready", 1, 0)


async def test_a_settler_that_is_cancelled_ends_the_worker() -> None:
    """Else its jobs would be held for ever: renewed, and never settled."""

    class Torn(Flaky):
        async def settle(self, settlements: Sequence[Settlement]) -> list[Lost]:
            for task in asyncio.all_tasks():
                if task.get_name() == "outlast settler":
                    task.cancel()
            await asyncio.Event().wait()
            return []

    app, store = new_app("memory:"), Torn()

    @app.job
    async def work() -> None: ...

    runtime = await flaky_runtime(app, store)
    await runtime.publish([work.message()])
    with pytest.raises(WorkerTorn, match="outlast settler"):
        await Worker(runtime).run(asyncio.Event())
    await store.close()


async def test_only_the_named_queues_are_consumed_and_a_wrong_name_is_refused(app: Outlast) -> None:
    @app.job(queue="mail")
    async def mail() -> None: ...

    @app.job(queue="other")
    async def other() -> None: ...

    left, done = await other.enqueue(), await mail.enqueue()
    async with working(app, queues=["mail"]):
        await record(app, done)
        assert await left.status() == "ready"
    with pytest.raises(ConfigurationError, match="queue 'mial' is not declared"):
        Worker(await app.runtime(), queues=["mial"])


async def test_a_thousand_jobs_of_all_sorts_are_each_done_once(app: Outlast) -> None:
    done: list[int] = []

    @app.job
    async def light(n: int) -> None:
        done.append(n)

    @app.job(retry=Retry(attempts=5, backoff=Constant(0)))
    async def rough(n: int) -> None:
        await asyncio.sleep(0)
        if n % 7 == 0 and n not in tried:
            tried.add(n)
            raise ValueError(n)
        done.append(n)

    @app.job(queue="threads")
    def slow(n: int) -> None:
        done.append(n)

    tried: set[int] = set()
    kinds = (light, rough, slow)
    await app.enqueue_many(kinds[n % 3].message(n) for n in range(1000))
    async with working(app, concurrency=20):
        store = (await app.runtime()).store

        async def empty() -> bool:
            return all(each.depth == 0 for each in (await store.broker.stats([])).values())

        await until(empty, "all are done")
    assert sorted(done) == list(range(1000))


class Flaky(MemoryStore):
    """A store that goes away for some calls, as a broken line does."""

    def __init__(self, *, settles: int = 0, claims: int = 0, error: Exception | None = None) -> None:
        super().__init__(SystemClock(), max_body=DEFAULTS.max_body)
        self.settles, self.claims = settles, claims
        self.error = error or StoreUnavailable("away")

    async def settle(self, settlements: Sequence[Settlement]) -> list[Lost]:
        if self.settles:
            self.settles -= 1
            raise self.error
        return await super().settle(settlements)

    async def claim(
        self, demand: Mapping[str, int], *, limit: int, holder: Holder, lease: float, wait: float
    ) -> list[Delivery]:
        if self.claims:
            self.claims -= 1
            raise self.error
        return await super().claim(demand, limit=limit, holder=holder, lease=lease, wait=wait)


async def flaky_runtime(app: Outlast, store: Flaky) -> Runtime:
    await store.open()
    return wire(app.composer, Store.of(store, "memory:"))


async def test_the_last_batch_is_reported_before_a_stop_although_its_follow_ups_are_looked_up() -> None:
    class Slow(Flaky):
        async def get(self, ids: Sequence[str]) -> list[JobRecord | None]:
            for _ in range(100):
                await asyncio.sleep(0)
            return await super().get(ids)

    app, store = new_app("memory:"), Slow()
    told: list[str] = []

    @app.job
    async def follows() -> None: ...

    @app.job
    async def work(ctx: Context) -> None:
        ctx.enqueue(follows.with_options(unique="x", delay=1000))
        stop.set()

    stop = asyncio.Event()
    runtime = await flaky_runtime(app, store)
    await runtime.publish([work.message()])
    runtime.observers.add(lambda event: told.append(type(event).__name__), (JobEnded, JobEnqueued))
    await Worker(runtime).run(stop)
    assert told == ["JobEnqueued", "JobEnded"]
    await store.close()


async def test_an_outage_of_the_store_is_waited_out_and_told_once(caplog: pytest.LogCaptureFixture) -> None:
    app, store = new_app("memory:"), Flaky(settles=3, claims=1)

    @app.job
    async def work(n: int) -> None: ...

    runtime = await flaky_runtime(app, store)
    messages = [work.message(n) for n in range(10)]
    await runtime.publish(messages)
    stop = asyncio.Event()
    with caplog.at_level(logging.WARNING, "outlast.worker"):
        task = asyncio.create_task(Worker(runtime).run(stop))
        found = await store.wait([each.id for each in messages], 30)
        stop.set()
        await task
    assert [each and each.state for each in found] == ["succeeded"] * 10
    told = [each.getMessage() for each in caplog.records if "the store is away" in each.getMessage()]
    assert 1 <= len(told) <= 2  # the claims may be done before the first settlement
    await store.close()


async def test_a_full_store_is_called_full_once_and_not_away(caplog: pytest.LogCaptureFixture) -> None:
    clock = FakeClock()
    outages = Outages(clock)
    full = StoreFull("at its maxmemory")
    for _ in range(3):  # claims go on, one settlement of two is taken
        outages.failed("settle", full)
        outages.succeeded("claim")
        outages.succeeded("settle")
        clock.advance(0.5)
        outages.succeeded("claim")
    assert [each.getMessage() for each in caplog.records] == [
        "the store is full, settle is repeated until there is space: at its maxmemory"
    ]
    clock.advance(5)
    outages.succeeded("claim")
    outages.succeeded("claim")
    assert [each.getMessage() for each in caplog.records][1:] == ["the store takes writes again"]


async def test_an_outage_ends_when_each_call_that_failed_succeeds(caplog: pytest.LogCaptureFixture) -> None:
    outages = Outages(FakeClock())
    for what in ("claim", "settle", "claim"):
        outages.failed(what, StoreUnavailable("gone"))
    outages.failed("settle", StoreError("NOPERM"))
    outages.failed("claim", StoreUnavailable("gone"), "mail")
    outages.succeeded("claim")
    assert [each.getMessage() for each in caplog.records] == [
        "the store is away, claim is repeated until it is back: gone",
        "the store refuses a call, settle is repeated until it succeeds: NOPERM",
        "the store is away, claim of queue 'mail' is repeated until it is back: gone",
    ]
    outages.succeeded("settle")
    outages.succeeded("claim", "mail")
    assert [each.getMessage() for each in caplog.records][3:] == [
        "the store is back",
        "the store is back, for queue 'mail'",
    ]


async def test_one_settlement_that_cannot_be_kept_does_not_hold_back_its_neighbours() -> None:
    class Picky(Flaky):
        async def settle(self, settlements: Sequence[Settlement]) -> list[Lost]:
            if any(isinstance(each, Finish) and bytes(each.result or b"") == b'"bad"' for each in settlements):
                raise OverflowError("bad")
            return await super().settle(settlements)

    app, store = new_app("memory:"), Picky()

    @app.job
    async def work(word: str) -> str:
        return word

    runtime = await flaky_runtime(app, store)
    messages = [work.message(word) for word in ("good", "bad", "fine")]
    await runtime.publish(messages)
    stop = asyncio.Event()
    task = asyncio.create_task(Worker(runtime).run(stop))
    await store.wait([messages[0].id, messages[2].id], 30)
    stop.set()
    await task
    found = await store.get([each.id for each in messages])
    assert [each and each.state for each in found] == ["succeeded", "scheduled", "succeeded"]
    await store.close()


@pytest.mark.parametrize("calls", [{"settles": 99}, {"claims": 99}], ids=["settle", "claim"])
async def test_a_damaged_store_ends_the_worker(calls: dict[str, int]) -> None:
    app, store = new_app("memory:", drain_grace=0.1), Flaky(error=StoreCorrupt("damaged"), **calls)

    @app.job
    async def work() -> None: ...

    runtime = await flaky_runtime(app, store)
    await runtime.publish([work.message()])
    with pytest.raises(StoreCorrupt):
        await Worker(runtime).run(asyncio.Event())
    await store.close()


async def test_a_call_that_never_comes_back_gets_a_new_connection_then_ends() -> None:
    made: list[Store] = []

    def connect() -> Store:
        made.append(Store.of(MemoryStore(SystemClock(), max_body=DEFAULTS.max_body), "memory:"))
        return made[-1]

    seconds: list[float] = []
    link = StoreLink(connect(), SystemClock(), Random(1), reconnect=connect, patience=0.01)
    link.on_stall = seconds.append

    async def hang(store: Any) -> None:
        await asyncio.Event().wait()

    with pytest.raises(StoreStalled):
        await link.once(hang)
    assert link.store is made[1]
    with pytest.raises(StoreStalled):
        await link.retry("settle", hang)
    assert link.store is made[3]
    assert len(seconds) == 3
    await link.close()


async def lonely_watch(app: Outlast, consumed: dict[str, float]) -> tuple[ConsumerWatch, FakeClock, list[Event]]:
    """Return a watch of a store with one job that nothing consumes."""

    @app.job(queue="lonely")
    async def work() -> None: ...

    clock, told = FakeClock(), list[Event]()
    runtime = await app.runtime()
    await work.enqueue()
    watch = ConsumerWatch(lambda: runtime.store.broker, clock, told.append, consumed=lambda: consumed)
    return watch, clock, told


async def test_a_queue_that_nobody_consumes_raises_the_alarm(app: Outlast, caplog: pytest.LogCaptureFixture) -> None:
    watch, clock, told = await lonely_watch(app, {})
    assert await watch.step()
    assert told == []  # one look is not enough: its worker may be between two lives
    for _ in range(3):
        clock.advance(30)
        assert not await watch.step()
    assert [(type(each), each.queue, each.depth) for each in told if isinstance(each, QueueUnattended)] == [
        (QueueUnattended, "lonely", 1)
    ] * 3
    assert caplog.text.count("'lonely' has 1 job and no worker consumes it") == 1


async def test_a_queue_whose_workers_restart_raises_no_alarm(app: Outlast) -> None:
    consumed: dict[str, float] = {}
    watch, clock, told = await lonely_watch(app, consumed)
    for _ in range(20):
        consumed["lonely"] = clock.monotonic()  # for a moment: each look of the store falls between two lives
        clock.advance(25)
        assert await watch.step()
    assert told == []
    clock.advance(6)
    await watch.step()
    assert len(told) == 1


async def test_an_alarm_begins_again_after_a_consumer(app: Outlast, caplog: pytest.LogCaptureFixture) -> None:
    watch, clock, told = await lonely_watch(app, {})
    store = (await app.runtime()).store
    await watch.step()
    clock.advance(30)
    await watch.step()
    await store.control.apply([Pause("lonely", on=True)])
    await watch.step()
    await store.control.apply([Pause("lonely", on=False)])
    assert await watch.step()
    assert len(told) == 1
    clock.advance(30)
    await watch.step()
    assert len(told) == 2
    assert caplog.text.count("no worker consumes it") == 2
