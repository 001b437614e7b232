"""The vote over four processes: one without a path opens alone, all that fail open together."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from msgspec import structs

from tests.faults.guards.child import Settings
from tests.faults.guards.processes import Family, commanded_by_hand, reached, record_of, store_at
from tests.support.stores import namespace_of, redis_url


@pytest.fixture(params=["sqlite", "redis"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A store of the test's own."""
    if request.param == "redis":
        return f"{redis_url()}?namespace={namespace_of(tmp_path)}"
    return f"sqlite:{tmp_path}/jobs.db"


async def test_one_of_four_without_a_path_opens_alone_and_the_others_lose_no_call(url: str, tmp_path: Path) -> None:
    settings = Settings(url=url, ledger=str(tmp_path / "ledger"), does="work", interval=0.2)
    async with store_at(url) as store:
        with Family.of(tmp_path) as family:
            others = await asyncio.to_thread(family.start, settings, 3)
            for each in others:
                each.ask("call 2")
                await reached(each.counts, lambda counts: counts.made >= 20)
            (cut_off,) = await asyncio.to_thread(family.start, structs.replace(settings, does="fail"))
            cut_off.ask("call 5")
            # It asks, the others answer, and the round is dropped: at least two rounds, each of five writes.
            seen, rounds, votes = 0, 0, 0
            while rounds < 2:
                seen = await store.guards.guards_changed(seen, 5)
                record = await record_of(store)
                votes = max(votes, len(record.votes))
                rounds += record.revision > 1 and record.asked_at is None
            assert votes >= 2
            assert (record.open, record.generation) == (False, 0)
            assert cut_off.state().state != "closed"
            for each in others:
                counts = each.counts()
                assert (counts.refused, counts.failed) == (0, 0)
                assert each.state().state == "closed"
            cut_off.ask("work")
            await reached(cut_off.state, lambda shown: shown.state == "closed")
            assert not (await record_of(store)).open


async def test_four_that_all_fail_open_together_and_close_by_one_probe(url: str, tmp_path: Path) -> None:
    settings = Settings(url=url, ledger=str(tmp_path / "ledger"), does="work", interval=2)
    async with store_at(url) as store:
        with Family.of(tmp_path) as family:
            members = await asyncio.to_thread(family.start, settings, 4)
            for each in members:
                each.ask("call 2")
                await reached(each.counts, lambda counts: counts.made >= 5)
            for each in members:
                each.ask("fail")
            for each in members:
                await reached(each.state, lambda shown: shown.why == "open for all processes")
            record = await record_of(store)
            assert record.open
            assert len(record.votes) >= 3
            for each in members:
                each.ask("work")
            for each in members:
                await reached(each.state, lambda shown: shown.state == "closed")
            assert not (await record_of(store)).open


async def test_what_an_operator_holds_is_held_in_each_process(url: str, tmp_path: Path) -> None:
    settings = Settings(url=url, ledger=str(tmp_path / "ledger"), does="fail", interval=0.05)
    async with store_at(url) as store:
        with Family.of(tmp_path) as family:
            members = await asyncio.to_thread(family.start, settings, 2)
            await commanded_by_hand(store, "close")
            for each in members:
                each.ask("call 3")
                await reached(each.counts, lambda counts: counts.failed >= 50)
                assert (each.counts().refused, each.state().held) == (0, "closed")
            held = await commanded_by_hand(store, "open")
            for each in members:
                await reached(each.state, lambda shown: shown.held == "open")
                failed = each.counts().failed
                await reached(each.counts, lambda counts: counts.refused >= 20)
                assert each.counts().failed <= failed + 3  # those that had begun
            assert await record_of(store) == held
