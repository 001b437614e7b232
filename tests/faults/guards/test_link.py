"""The link of an app's guards: what is shared, what is written while all is well, what an outage of the store does."""

from __future__ import annotations

import asyncio
import logging
import signal
import threading
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import apsw
import pytest

from outlast import Breaker, Outlast, Settings
from outlast.aio.clock import SystemClock
from outlast.aio.portal import portal
from outlast.brokers.memory import MemoryStore
from outlast.core.errors import GuardOpen
from outlast.core.guards.record import GuardRules, GuardsView
from outlast.core.store.store import Store
from outlast.resilience import link
from outlast.resilience.guard import Guard
from outlast.resilience.ports import ProbeAnswer
from tests.faults.guards.processes import commanded_by_hand, opened, record_of, store_at
from tests.support.polling import until
from tests.support.servers.redis_fleet import Node

BREAKER = Breaker(minimum=2, open_for=0.05, probe_lease=20, ramp=0)
AWAY = "guards are not shared between processes until the store is back"


class App:
    """An app with one guard, as one process has it; two in one process have a link each."""

    def __init__(self, url: str, breaker: Breaker = BREAKER) -> None:
        self.shop = Outlast("shop", settings=Settings(url=url, enqueue_timeout=60))
        self.guard: Guard = self.shop.guard("payments", breaker=breaker)
        self.calls = 0

    async def open(self) -> None:
        """Open the store of the link before the first call, which waits for it only so long."""
        await asyncio.wrap_future(portal().submit(self.shop.runtime))

    async def guard_state(self) -> GuardsView:
        """Read the states as the link does, on its loop."""
        return await (await self.shop.runtime()).store.guards.guards()

    async def call(self, *, works: bool = True) -> str:
        """Make one call; return what came of it."""

        async def dependency() -> str:
            self.calls += 1
            if not works:
                raise ConnectionError("down")
            return "made"

        try:
            return await self.guard.call(dependency)
        except ConnectionError:
            return "failed"
        except GuardOpen:
            return "refused"


@pytest.fixture
async def apps() -> AsyncIterator[list[App]]:
    """Apps to be closed."""
    made: list[App] = []
    yield made
    for app in made:
        await app.shop.close()


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:{tmp_path}/jobs.db"


def told(caplog: pytest.LogCaptureFixture) -> int:
    return sum(AWAY in each.getMessage() for each in caplog.records)


async def test_what_one_app_opens_is_open_for_the_other_until_a_probe(url: str, apps: list[App]) -> None:
    one, other = apps[:] = [App(url), App(url)]
    await asyncio.gather(one.open(), other.open())
    assert [await one.call(), await other.call()] == ["made", "made"]
    async with store_at(url) as store:
        await asyncio.gather(*(one.call(works=False) for _ in range(4)), *(other.call(works=False) for _ in range(4)))
        await until(lambda: other.guard.view().why == one.guard.view().why == "open for all processes", "both are open")
        assert [vote.open for vote in (await record_of(store)).votes] == [True, True]
        await until(lambda: _made(one), "the probe closes it")
        await until(lambda: other.guard.view().state == "closed", "the other has closed")
        assert await other.call() == "made"


async def test_a_reset_by_hand_closes_also_a_process_that_is_open_alone(url: str, apps: list[App]) -> None:
    breaker = Breaker(minimum=2, open_for=3600, ramp=3600)
    alone, other = apps[:] = [App(url, breaker), App(url, breaker)]
    await asyncio.gather(alone.open(), other.open())
    assert [await other.call() for _ in range(4)] == ["made"] * 4
    async with store_at(url) as store:
        assert [await alone.call(works=False) for _ in range(3)] == ["failed", "failed", "refused"]
        await until(lambda: _asked_in_vain(store), "the others have not followed")
        await commanded_by_hand(store, "reset")
        await until(lambda: alone.guard.view().state == "closed", "it has closed")
    assert alone.guard.view().share < 0.2
    assert other.guard.view().share == 1.0


async def _asked_in_vain(store: Store) -> bool:
    record = await record_of(store)
    return record.revision > 1 and record.asked_at is None and not record.open


async def test_an_app_whose_loop_is_blocked_votes(url: str, apps: list[App]) -> None:
    one, other = apps[:] = [App(url), App(url)]
    await asyncio.gather(one.open(), other.open())
    blocked, free = threading.Event(), threading.Event()

    async def block() -> None:
        assert await other.call() == "made"
        blocked.set()
        free.wait(60)

    thread = threading.Thread(target=lambda: asyncio.run(block()))
    thread.start()
    try:
        await asyncio.to_thread(blocked.wait, 60)
        async with store_at(url) as store:
            for _ in range(2):
                await one.call(works=False)
            votes = await until(lambda: _votes(store), "the other has answered")
            assert votes == [True, False]
    finally:
        free.set()
        thread.join()


async def _votes(store: Store) -> list[bool]:
    record = await record_of(store)
    return [vote.open for vote in record.votes] if len(record.votes) > 1 else []


async def test_while_all_is_well_nothing_is_written(
    url: str, apps: list[App], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link, "READ_AGAIN", 0.02)
    apps.append(App(url))
    await apps[0].open()
    assert await apps[0].call() == "made"
    db = apsw.Connection(str(tmp_path / "jobs.db"))
    log = tmp_path / "jobs.db-wal"

    def written() -> tuple[int, int, int]:
        return int(db.pragma("data_version")), log.stat().st_size, log.stat().st_mtime_ns

    try:
        before = written()
        for _ in range(2000):
            assert await apps[0].call() == "made"
        assert await apps[0].call(works=False) == "failed"
        assert written() == before
    finally:
        db.close()


async def test_while_all_is_well_nothing_is_written_to_redis(
    server: Node, apps: list[App], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link, "READ_AGAIN", 0.02)
    apps.append(App(server.url))
    await apps[0].open()
    assert await apps[0].call() == "made"

    def changes() -> str:
        info: str = server.ask("INFO", "persistence").decode()
        return next(line for line in info.splitlines() if line.startswith("rdb_changes_since_last_save"))

    before = changes()
    for _ in range(2000):
        assert await apps[0].call() == "made"
    assert changes() == before
    assert server.ask("EXISTS", "{outlast}:guards") == 0


async def test_an_outage_makes_guards_local_and_is_told_once(
    server: Node, apps: list[App], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link, "READ_AGAIN", 0.1)
    monkeypatch.setattr(link, "LATEST", 0.2)
    caplog.set_level(logging.INFO)
    apps.append(App(server.url))
    app = apps[0]
    await app.open()
    assert await app.call() == "made"
    server.kill()
    await until(lambda: told(caplog), "the outage is told")
    for _ in range(4):
        await app.call(works=False)
    assert app.guard.view().state != "closed"
    assert await until(lambda: _made(app), "its own probe closes it")
    assert app.guard.view().state == "closed"
    server.start()
    await until(lambda: "guards are shared between processes again" in caplog.text, "the end is told")
    assert told(caplog) == 1
    async with store_at(server.url) as store:
        await commanded_by_hand(store, "open")
        await until(lambda: app.guard.view().held == "open", "what is shared is followed")


async def test_a_store_that_takes_no_write_is_not_asked_without_a_pause(
    server: Node, apps: list[App], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link, "SOONEST", 600.0)
    monkeypatch.setattr(link, "LATEST", 600.0)
    apps.append(App(server.url))
    await apps[0].open()
    assert await apps[0].call() == "made"
    server.ask("CONFIG", "SET", "min-replicas-to-write", 1)  # reads are answered, as with a full disk or memory
    for _ in range(4):
        await apps[0].call(works=False)
    await until(lambda: told(caplog), "the vote could not be written")
    for _ in range(50):
        await asyncio.wrap_future(portal().submit(apps[0].guard_state))
    assert told(caplog) == 1


async def _made(app: App) -> bool:
    return await app.call() == "made"


async def test_a_store_that_is_away_at_the_first_call_holds_nothing_up_and_hears_of_an_opening_later(
    server: Node, apps: list[App], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link, "LATEST", 0.2)
    server.kill()
    apps.append(App(server.url, Breaker(minimum=2, open_for=600)))
    assert [await apps[0].call() for _ in range(5)] == ["made"] * 5
    for _ in range(5):
        await apps[0].call(works=False)
    assert apps[0].guard.view().state == "open"
    assert told(caplog) == 1
    server.start()
    await until(lambda: apps[0].guard.view().why == "open for all processes", "it asks when the store is there")


async def test_the_probe_that_ends_during_an_outage_is_reported_after_it(
    server: Node, apps: list[App], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link, "LATEST", 0.2)
    async with store_at(server.url) as store:
        await opened(store, GuardRules(interval=0.05, lease=60))
    breaker = Breaker(minimum=2, open_for=0.05, probe_lease=60, ramp=0)
    apps.append(App(server.url, breaker))
    await apps[0].open()
    begun, ends = asyncio.Event(), asyncio.Event()

    async def dependency() -> str:
        server.kill()
        begun.set()
        await ends.wait()
        return "made"

    async def probe() -> str:
        with suppress(GuardOpen):
            return await apps[0].guard.call(dependency)
        return ""

    probing = asyncio.create_task(until(probe, "the probe is made", within=120))
    await begun.wait()
    ends.set()
    assert await probing == "made"
    server.start()
    async with store_at(server.url) as store:
        await until(lambda: _closed(store), "the result is reported")
        assert (await record_of(store)).generation == 3


async def _closed(store: Store) -> bool:
    return not (await record_of(store)).open


async def test_a_probe_that_the_store_gives_too_late_is_given_back(server: Node, apps: list[App]) -> None:
    async with store_at(server.url) as store:
        record = await opened(store, GuardRules(interval=0.3, lease=600))
        apps.append(App(server.url, Breaker(minimum=2, open_for=0.3, probe_lease=600, ramp=0)))
        await apps[0].open()
        assert await apps[0].call() == "refused"
        due = apps[0].guard.view().next_probe
        assert due is not None
        await until(lambda: apps[0].guard.view().next_probe == 0, "the probe is due")
        server.signal(signal.SIGSTOP)
        assert await apps[0].call() == "refused"
        server.signal(signal.SIGCONT)
        assert apps[0].calls == 0
        await until(lambda: _made(apps[0]), "the next probe closes it, long before the lease ends")
        await until(lambda: _closed(store), "its result is stored")
        assert (await record_of(store)).generation > record.generation


async def test_an_app_that_is_closed_and_used_again_follows_again(url: str, apps: list[App]) -> None:
    apps.append(App(url))
    app = apps[0]
    await app.open()
    assert await app.call() == "made"
    await app.shop.close()
    async with store_at(url) as store:
        await commanded_by_hand(store, "open")
    assert app.guard.view().held == ""
    await app.shop.runtime()
    await until(lambda: app.guard.view().held == "open", "the state is followed again")
    assert await app.call() == "refused"


async def test_guards_stay_shared_while_another_loop_uses_the_app(url: str, apps: list[App]) -> None:
    apps.append(app := App(url))
    await app.open()
    await app.shop.runtime()
    assert await app.call() == "made"

    async def short() -> None:
        async with app.shop:
            pass

    await asyncio.to_thread(lambda: asyncio.run(short()))
    async with store_at(url) as store:
        await opened(store, GuardRules(interval=3600))
        await until(lambda: app.guard.view().state == "open", "it has heard of the opening")


async def test_a_probe_that_a_closed_link_was_given_is_not_renewed(url: str, apps: list[App]) -> None:
    apps.append(App(url, BREAKER))
    async with store_at(url) as store:
        await opened(store, GuardRules(interval=0.01, lease=3600, ramp=0))
        await apps[0].open()
        shared = apps[0].shop._wired().guard_link
        assert shared is not None
        await asyncio.wrap_future(shared.start(apps[0].guard))
        given = await until(lambda: _probe_of(shared), "it is given the probe")
        renewed = await asyncio.wrap_future(shared.renew_probe("payments"))
        assert renewed.granted
        assert renewed.at > given.at
        await shared.close()
        assert not (await asyncio.wrap_future(shared.renew_probe("payments"))).granted


async def _probe_of(shared: link.GuardLink) -> ProbeAnswer | None:
    answer = await asyncio.wrap_future(shared.take_probe("payments"))
    return answer if answer.granted else None


async def test_a_probe_of_a_process_that_is_open_alone_is_renewed(url: str, apps: list[App]) -> None:
    apps.append(App(url, BREAKER))
    await apps[0].open()
    shared = apps[0].shop._wired().guard_link
    assert shared is not None
    await asyncio.wrap_future(shared.start(apps[0].guard))
    given = await _probe_of(shared)
    assert given is not None
    renewed = await asyncio.wrap_future(shared.renew_probe("payments"))
    assert renewed.granted
    assert renewed.at > given.at


async def test_an_app_that_is_closed_right_after_its_probe_has_reported_it(url: str, apps: list[App]) -> None:
    apps.append(App(url, BREAKER))
    async with store_at(url) as store:
        await opened(store, GuardRules(interval=0.01, lease=3600, ramp=0))
        await apps[0].open()
        await until(lambda: _made(apps[0]), "it made the probe")
        await apps[0].shop.close()
        assert not (await record_of(store)).open


async def test_a_store_of_one_process_shares_nothing(apps: list[App], caplog: pytest.LogCaptureFixture) -> None:
    apps.append(App("memory:"))
    assert await apps[0].call() == "made"
    assert apps[0].shop._wired().guard_link is None
    assert caplog.records == []


async def test_on_a_transport_each_guard_goes_by_itself(caplog: pytest.LogCaptureFixture) -> None:
    transport = Store(MemoryStore(SystemClock()), url="amqp://host")

    async def connect() -> Store:
        return transport

    sharing = link.GuardLink(connect)
    guard = Guard("payments", breaker=BREAKER, sharing=lambda: sharing)
    await guard.call(asyncio.sleep, 0)
    with pytest.raises(ZeroDivisionError):
        await guard.call(_divides)
    assert guard.view().state == "open"
    answer = await asyncio.wrap_future(sharing.take_probe("payments"))
    assert answer.granted
    sharing.probe_ended("payments", "opened")
    await sharing.close()
    assert not [each for each in caplog.records if each.name == "outlast"]


async def _divides() -> float:
    return 1 / 0
