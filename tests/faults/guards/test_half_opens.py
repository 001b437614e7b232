"""Half-opens over several processes: one probe each, on SQLite and Redis, also when its process is killed."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from outlast.core.guards.record import GuardRules, state_of
from tests.faults.guards.child import Settings
from tests.faults.guards.processes import Family, calls_of, opened, overlaps, reached, record_of, store_at
from tests.faults.proofs.half_opens import prove
from tests.support.servers.redis_cluster import shared_cluster
from tests.support.stores import namespace_of, redis_url

HALF_OPENS = 40


@pytest.fixture(params=["sqlite", "redis", "cluster"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A store of the test's own."""
    if request.param == "cluster":
        return f"{shared_cluster()}?namespace={namespace_of(tmp_path)}"
    if request.param == "redis":
        return f"{redis_url()}?namespace={namespace_of(tmp_path)}"
    return f"sqlite:{tmp_path}/jobs.db"


async def test_each_half_open_has_exactly_one_probe(url: str, tmp_path: Path) -> None:
    verdict = await prove(url, tmp_path, half_opens=HALF_OPENS)
    print(verdict)
    assert verdict.sound, verdict
    assert verdict.refused > 0


async def test_the_probe_of_a_killed_process_is_replaced_after_its_lease(url: str, tmp_path: Path) -> None:
    lease = 1.5
    settings = Settings(url=url, ledger=str(tmp_path / "ledger"), lease=lease, does="hang")
    async with store_at(url) as store:
        await opened(store, GuardRules(interval=settings.interval, lease=lease))
        with Family.of(tmp_path) as family:
            members = await asyncio.to_thread(family.start, settings, 2)
            for each in members:
                each.ask("call 20")
            (first,) = await reached(lambda: calls_of(tmp_path / "ledger"), bool)
            killed = next(each for each in members if each.pid == first.pid)
            killed.kill()
            (other,) = (each for each in members if each is not killed)
            other.ask("work")
            seen = 0
            while (record := await record_of(store)).open:
                seen = await store.guards.guards_changed(seen, 5)
            assert record.closed_at is not None
            calls = calls_of(tmp_path / "ledger")
            assert {call.pid for call in calls[1:]} == {other.pid}
            assert calls[1].begin - first.begin >= lease - 0.1  # the lease began before the call did
            other.ask("stop")
            assert (await record_of(store)).generation == record.generation


async def test_a_probe_that_hangs_past_its_lease_is_replaced_and_its_end_changes_nothing(
    url: str, tmp_path: Path
) -> None:
    settings = Settings(url=url, ledger=str(tmp_path / "ledger"), lease=0.5, does="hang")
    async with store_at(url) as store:
        await opened(store, GuardRules(interval=settings.interval, lease=settings.lease))
        with Family.of(tmp_path) as family:
            (member,) = await asyncio.to_thread(family.start, settings)
            member.ask("call 10")
            calls = await reached(lambda: calls_of(tmp_path / "ledger"), lambda calls: len(calls) >= 3)
            assert overlaps([each for each in calls if each.end < float("inf")]) == 0
            record = await record_of(store)
            assert (record.open, record.held) == (True, "")
            assert record.generation in (len(calls), len(calls) + 1, len(calls) + 2)


async def test_a_process_that_starts_while_it_is_open_makes_no_call(url: str, tmp_path: Path) -> None:
    settings = Settings(url=url, ledger=str(tmp_path / "ledger"), interval=600, does="work")
    async with store_at(url) as store:
        record = await opened(store, GuardRules(interval=600))
        with Family.of(tmp_path) as family:
            (member,) = await asyncio.to_thread(family.start, settings)
            member.ask("call 50")
            counts = await reached(member.counts, lambda counts: counts.refused >= 100)
            assert (counts.made, counts.failed) == (0, 0)
            assert calls_of(tmp_path / "ledger") == []
            assert member.state().why == "open for all processes"
            view = await store.guards.guards()
            after = view.of("payments")
            assert (after.since, after.probe_at, after.revision) == (record.since, record.probe_at, record.revision)
            assert state_of(after, view.now) == "open"
