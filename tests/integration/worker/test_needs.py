"""Queues that need guards, and handlers that meet a guard which refuses: what workers do with their jobs."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from outlast import Breaker, Guard, JobPostponed, JobRetried, Limit, Outlast, Retry, Snooze
from outlast.core.errors import ConfigurationError
from outlast.core.events import Event
from outlast.core.guards.record import GuardRules
from outlast.core.message import Delivery
from outlast.core.settlement import Lost, Release, Settlement
from outlast.core.store.broker import QueueStats
from outlast.core.store.control import RunNow
from outlast.worker import Worker, slot_groups
from outlast.worker.claimer import CLAIM_WAIT
from outlast.worker.slot_groups import AHEAD
from tests.faults.guards.processes import changed, commanded_by_hand, opened, record_of
from tests.support.apps import guarded_app
from tests.support.polling import until
from tests.support.working import new_app, record, working

SOON = 0.05
LONG = 3600.0
ONCE = Retry(attempts=1)


def guarded(app: Outlast, **breaker: Any) -> Guard:
    """Declare a guard that one failed call opens."""
    policy = Breaker(**{"minimum": 1, "window": 1, "open_for": SOON, "probe_lease": LONG, "ramp": 0.0, **breaker})
    return app.guard("payments", breaker=policy)


async def fails() -> None:
    raise ConnectionError("down")


async def works() -> None: ...


async def open_by_a_call(guard: Guard) -> None:
    with suppress(ConnectionError):
        await guard.call(fails)
    assert guard.view().state != "closed"


async def stats_of(app: Outlast, queue: str) -> QueueStats:
    return (await (await app.runtime()).store.broker.stats([queue]))[queue]


def events_of(app: Outlast) -> list[Event]:
    events: list[Event] = []
    app.observe(events.append)
    return events


@pytest.fixture
def shop() -> Outlast:
    return new_app("memory:")


# A handler whose guard refuses


async def test_a_refused_call_puts_the_job_off_and_uses_up_no_attempt(
    shop: Outlast, caplog: pytest.LogCaptureFixture
) -> None:
    guard, events = guarded(shop), events_of(shop)

    @shop.job(retry=ONCE)
    async def charge(number: int) -> None:
        await guard.call(works)

    def put_off(id: str) -> int:
        return sum(isinstance(each, JobPostponed) and each.id == id for each in events)

    guard.hold("open")
    async with working(shop):
        first, second = await charge.enqueue(1), await charge.enqueue(2)
        await until(lambda: put_off(first.id) > 1 and put_off(second.id) > 1, "both were put off twice")
        guard.hold("")
        ended = await record(shop, first)
        await record(shop, second)
    assert (ended.state, ended.attempt, ended.crashes, ended.failures) == ("succeeded", 1, 0, ())
    assert not [each for each in events if isinstance(each, JobRetried)]
    (told,) = [text for text in caplog.messages if "makes no calls now" in text]
    assert told == (
        "guard 'payments' makes no calls now: jobs that meet it are put off and use up no attempt, "
        f"as job {first.id} (charge)"
    )
    postponed = next(each for each in events if isinstance(each, JobPostponed))
    assert (postponed.queue, postponed.kind, postponed.guard) == ("default", "charge", "payments")


# The gate


async def test_jobs_of_a_held_queue_stay_in_the_store_and_others_run(tmp_path: Path) -> None:
    shop = new_app(f"sqlite:{tmp_path}/jobs.db")
    guard, runs = guarded(shop), list[str]()
    shop.queue("charges", needs=[guard])

    @shop.job(queue="charges")
    async def charge(number: int) -> None:
        runs.append("charge")
        await guard.call(works)

    @shop.job(queue="mails")
    async def mail(number: int) -> None:
        runs.append("mail")

    guard.hold("open")
    async with working(shop):
        charges = [await charge.enqueue(n) for n in range(5)]
        for each in [await mail.enqueue(n) for n in range(5)]:
            await record(shop, each)
        stats = await stats_of(shop, "charges")
        assert (stats.ready, stats.running, stats.consumers, stats.needs) == (5, 0, 1, ("payments",))
        assert runs == ["mail"] * 5
        guard.hold("")
        assert {(await record(shop, each)).attempt for each in charges} == {1}
    assert runs == ["mail"] * 5 + ["charge"] * 5
    await shop.close()


def spied(store: Any, claims: list[dict[str, int]], cut: list[dict[str, int]]) -> None:
    """Note each claim, and each that was cancelled."""
    claim: Callable[..., Coroutine[Any, Any, list[Delivery]]] = store.broker.claim

    async def noted(demand: dict[str, int], **options: Any) -> list[Delivery]:
        claims.append(dict(demand))
        try:
            return await claim(demand, **options)
        except asyncio.CancelledError:
            cut.append(dict(demand))
            raise

    store.broker.claim = noted


async def test_a_worker_does_not_poll_for_a_held_queue_and_counts_as_its_consumer(app: Outlast) -> None:
    shop, guard = app, guarded(app)
    shop.queue("charges", needs=[guard])

    @shop.job(queue="charges")
    async def charge(number: int) -> None: ...

    claims, cut = list[dict[str, int]](), list[dict[str, int]]()
    guard.hold("open")
    spied((await shop.runtime()).store, claims, cut)
    begin = time.monotonic()

    async def attended() -> bool:
        return (await stats_of(shop, "charges")).consumers == 1

    async with working(shop):
        await until(attended, "the queue has a consumer")
        for number in range(50):
            await charge.enqueue(number)
        assert (await stats_of(shop, "charges")).ready == 50
        assert len(claims) <= 1 + (time.monotonic() - begin) / CLAIM_WAIT
        assert {each["charges"] for each in claims} == {0}


async def test_a_claim_that_waits_is_cut_short_when_the_guard_opens(shop: Outlast) -> None:
    guard = guarded(shop)
    shop.queue("charges", needs=[guard])

    @shop.job(queue="charges")
    async def charge() -> None: ...

    claims, cut = list[dict[str, int]](), list[dict[str, int]]()
    spied((await shop.runtime()).store, claims, cut)
    async with working(shop):
        await until(lambda: claims, "a claim waits")
        guard.hold("open")
        await until(lambda: cut, "it is cut short", within=CLAIM_WAIT / 2)
        assert cut[0]["charges"] > 0
        guard.hold("")
        await record(shop, await charge.enqueue())


async def test_a_handed_out_job_that_has_not_begun_goes_back_when_the_guard_opens(
    shop: Outlast, monkeypatch: pytest.MonkeyPatch
) -> None:
    # On a busy machine the runs take too long for the worker to claim ahead by itself.
    monkeypatch.setattr(slot_groups, "claim_ahead", lambda slots, **_: AHEAD * slots)
    guard, go, begun = guarded(shop), asyncio.Event(), list[int]()
    shop.queue("charges", needs=[guard])

    @shop.job(queue="charges")
    async def charge(number: int) -> None:
        begun.append(number)
        await go.wait()

    store = (await shop.runtime()).store
    settle, released = store.broker.settle, list[Release]()

    async def noted(settlements: Sequence[Settlement]) -> list[Lost]:
        released.extend(each for each in settlements if isinstance(each, Release))
        return await settle(settlements)

    store.broker.settle = noted  # type: ignore[method-assign]
    handles = await shop.send([charge.message(n) for n in range(50)])
    async with working(shop, concurrency=4):

        async def ahead() -> bool:
            return len(begun) == 4 and (await stats_of(shop, "charges")).running > 4

        async def given_back() -> bool:
            stats = await stats_of(shop, "charges")
            return (stats.running, stats.ready) == (len(begun), 50 - len(begun))

        await until(ahead, "jobs are handed out that have not begun")
        guard.hold("open")
        await until(given_back, "what has not begun is back")
        guard.hold("")
        go.set()
        ended = [await record(shop, each) for each in handles]
    assert {(each.state, each.attempt, each.crashes) for each in ended} == {("succeeded", 1, 0)}
    assert {(each.why, each.at, each.begun) for each in released} == {("waits for payments", None, False)}


async def test_a_worker_that_starts_while_a_guard_is_open_runs_none_of_its_jobs(tmp_path: Path) -> None:
    shop, runs = new_app(f"sqlite:{tmp_path}/jobs.db"), list[int]()
    guard = guarded(shop)
    shop.queue("charges", needs=[guard])

    @shop.job(queue="charges")
    async def charge() -> None:
        runs.append(1)

    @shop.job(queue="mails")
    async def mail() -> None: ...

    store = (await shop.runtime()).store
    await opened(store, GuardRules(interval=LONG, lease=LONG, ramp=0))
    handle = await charge.enqueue()
    async with working(shop):
        await record(shop, await mail.enqueue())
        stats = await stats_of(shop, "charges")
        assert (stats.ready, stats.consumers, runs) == (1, 1, [])
        await commanded_by_hand(store, "reset")
        assert (await record(shop, handle)).attempt == 1
    await shop.close()


# The probe


@pytest.mark.parametrize("calls", [True, False], ids=["calls the guard", "never calls it"])
async def test_one_job_is_the_probe_and_its_success_opens_the_gate(shop: Outlast, calls: bool) -> None:
    guard, go, running, most = guarded(shop), asyncio.Event(), 0, 0
    shop.queue("charges", needs=[guard])

    @shop.job(queue="charges")
    async def charge(number: int) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await (guard.call(go.wait) if calls else go.wait())
        running -= 1

    await open_by_a_call(guard)
    async with working(shop):
        handles = [await charge.enqueue(n) for n in range(10)]
        await until(lambda: running, "the probe runs")
        assert guard.view().state == "half-open"
        for _ in range(20):  # more claims could come now
            await asyncio.sleep(0)
        stats = await stats_of(shop, "charges")
        assert (stats.running, stats.ready, most) == (1, 9, 1)
        go.set()
        for each in handles:
            assert (await record(shop, each)).attempt == 1
    assert guard.view().state == "closed"


async def test_the_lease_of_a_probe_is_renewed_until_its_job_calls_the_guard(tmp_path: Path) -> None:
    shop, go = new_app(f"sqlite:{tmp_path}/jobs.db"), asyncio.Event()
    guard = guarded(shop, probe_lease=4.0)
    shop.queue("charges", needs=[guard])

    @shop.job(queue="charges")
    async def charge() -> None:
        await go.wait()
        await guard.call(works)

    store = (await shop.runtime()).store
    await opened(store, GuardRules(interval=SOON, lease=4.0, ramp=0))
    leases = list[float]()

    async def renewed() -> bool:
        found = await record_of(store)
        if found.probe is not None:
            leases.append(found.probe.until)
        return len(set(leases)) > 1

    async with working(shop):
        handle = await charge.enqueue()
        await until(renewed, "the lease is renewed", within=60)
        go.set()
        assert (await record(shop, handle)).attempt == 1
        await until(lambda: guard.view().state == "closed", "the job has closed it")
    await shop.close()


@pytest.mark.parametrize("calls", [True, False], ids=["calls the guard", "never calls it"])
async def test_a_probe_that_fails_leaves_the_gate_shut_until_the_next(shop: Outlast, calls: bool) -> None:
    guard, runs, down = guarded(shop), list[int](), True
    shop.queue("charges", needs=[guard])

    @shop.job(queue="charges", retry=ONCE)
    async def charge(number: int) -> None:
        runs.append(number)
        if calls:
            await guard.call(fails if down else works)
        elif down:
            raise ValueError("down")

    await open_by_a_call(guard)
    async with working(shop):
        handles = [await charge.enqueue(n) for n in range(6)]
        await until(lambda: len(runs) >= 2, "two probes")
        down = False
        states = [(await record(shop, each)).state for each in handles]
    dead = states.count("dead")
    assert 2 <= dead < 6
    assert states == ["dead"] * dead + ["succeeded"] * (6 - dead)


async def test_a_probe_job_that_snoozes_says_nothing(shop: Outlast) -> None:
    guard, snoozed = guarded(shop), False
    shop.queue("charges", needs=[guard])

    @shop.job(queue="charges")
    async def charge() -> None:
        nonlocal snoozed
        if not snoozed:
            snoozed = True
            raise Snooze(0)
        await guard.call(works)

    await open_by_a_call(guard)
    async with working(shop):
        handle = await charge.enqueue()
        await until(lambda: snoozed, "the probe has run")
        assert (await record(shop, handle)).attempt == 1
    assert guard.view().state == "closed"


async def test_a_worker_that_stops_gives_the_probe_back_before_its_last_run_ends(shop: Outlast) -> None:
    guard, goes_on, began = guarded(shop), asyncio.Event(), asyncio.Event()
    shop.queue("charges", needs=[guard], per_key=Limit(concurrency=1))

    @shop.job(queue="charges")
    async def charge() -> None:
        began.set()
        await goes_on.wait()

    job = charge.with_options(key="customer")
    stop = asyncio.Event()
    working = asyncio.create_task(Worker(await shop.runtime()).run(stop))
    await job.enqueue()
    await began.wait()
    await job.enqueue()  # it is ready, and no claim gets it while the first one runs
    await open_by_a_call(guard)
    await until(lambda: guard.view().state == "half-open", "the worker has the probe")
    stop.set()
    await until(lambda: guard.view().state == "open", "another worker can have the probe")
    assert not working.done()
    goes_on.set()
    await working


async def test_a_guard_that_is_closed_without_jobs_stays_open_until_one_comes(shop: Outlast) -> None:
    guard = guarded(shop)
    shop.queue("charges", needs=[guard])

    @shop.job(queue="charges")
    async def charge() -> None: ...

    @shop.job(queue="mails")
    async def mail() -> None: ...

    await open_by_a_call(guard)
    async with working(shop):
        await record(shop, await mail.enqueue())
        assert guard.view().state == "open"
        await record(shop, await charge.enqueue())
    assert guard.view().state == "closed"


# The ramp


async def test_after_the_closing_a_share_of_the_slots_runs_and_its_calls_are_made(shop: Outlast) -> None:
    guard, events, running, most = guarded(shop, ramp=LONG), events_of(shop), 0, 0
    shop.queue("charges", needs=[guard])

    @shop.job(queue="charges")
    async def charge(number: int) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        for _ in range(5):
            await guard.call(works)
            await asyncio.sleep(0)
        running -= 1

    @shop.job(queue="others", retry=ONCE)
    async def other(number: int) -> None:
        await guard.call(works)

    await open_by_a_call(guard)
    async with working(shop, concurrency=20):
        handles = await shop.send([charge.message(n) for n in range(30)])
        for each in handles:
            assert (await record(shop, each)).attempt == 1
        assert not [each for each in events if isinstance(each, JobPostponed)]
        assert most <= 2  # a tenth of the slots
        for n in range(5):
            await other.enqueue(n)
        # They came through no gate: the guard itself lets only a share of their calls through.
        await until(lambda: any(isinstance(each, JobPostponed) for each in events), "one is put off")


# Declarations


async def test_a_worker_of_a_guard_that_nobody_declares_is_refused(shop: Outlast) -> None:
    shop.queue("charges", needs=["payments"])
    guarded(shop)
    runtime = await shop.runtime()
    del shop.registry.guards["payments"]
    with pytest.raises(ConfigurationError, match="which this app does not declare"):
        Worker(runtime)


# Isolated runs


async def test_an_isolated_run_is_the_probe_and_one_that_a_guard_refuses_is_put_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"sqlite:{tmp_path}/jobs.db"
    monkeypatch.setenv("OUTLAST_GUARDED_URL", url)
    shop, jobs = guarded_app.build(url)
    events, store = events_of(shop), (await shop.runtime()).store
    await opened(store, GuardRules(interval=LONG, lease=30, ramp=0))

    async def closed() -> bool:
        return not (await record_of(store)).open

    async with working(shop, target="tests.support.apps.guarded_app:app", processes=1):
        refused = await jobs["free"].enqueue()
        await until(lambda: any(isinstance(each, JobPostponed) for each in events), "it is put off", within=60)
        await changed(store, lambda found, now: structs.replace(found, revision=found.revision + 1, probe_at=now))
        probe = await jobs["gated"].enqueue()
        assert (await record(shop, probe, within=60)).attempt == 1
        await until(closed, "the guard closes")
        await store.control.apply([RunNow(refused.id)])
        assert (await record(shop, refused, within=60)).attempt == 1
    await shop.close()


@pytest.mark.parametrize(("kind", "state", "is_open"), [("catches", "succeeded", True), ("fails_later", "dead", False)])
async def test_the_call_of_an_isolated_run_decides_the_probe_and_not_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, state: str, is_open: bool
) -> None:
    url = f"sqlite:{tmp_path}/jobs.db"
    monkeypatch.setenv("OUTLAST_GUARDED_URL", url)
    shop, jobs = guarded_app.build(url)
    store = (await shop.runtime()).store
    await opened(store, GuardRules(interval=0.05, lease=30, ramp=0))

    async def ended() -> bool:
        found = await record_of(store)
        return found.generation > 2 and found.probe is None

    async with working(shop, target="tests.support.apps.guarded_app:app", processes=1):
        probe = await jobs[kind].enqueue()
        assert (await record(shop, probe, within=60)).state == state
        await until(ended, "the probe has ended")
        assert (await record_of(store)).open is is_open
    await shop.close()
