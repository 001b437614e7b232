"""How a supervisor finds a frozen worker, and what is no fault of a worker."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from outlast.aio.tasks import cancel
from outlast.core.errors import StoreUnavailable
from outlast.core.store.broker import QueueStats
from outlast.meters import meters
from outlast.observe.health.views import ServiceView, WorkerView
from outlast.supervisor.health import SupervisorHealth
from outlast.testing.clock import FakeClock
from tests.support.polling import until

WELL = WorkerView(pid=7, state="consuming", due=2.0, asked=("mail",))
FROZEN = WorkerView(pid=7, state="consuming", due=61.0, asked=("mail",))


class Service:
    """A supervisor with one worker, and a store that counts the calls to it."""

    def __init__(self, *workers: WorkerView, path: str | None = None) -> None:
        self.workers = workers
        self.stats: dict[str, QueueStats] | Exception = {"mail": QueueStats(ready=3)}
        self.calls: list[list[str]] = []
        self.clock = FakeClock()
        self.meanwhile: Callable[[], None] = lambda: None
        self.health = SupervisorHealth(
            lambda: ServiceView(workers=self.workers, came_up=True),
            self.stats_of,
            lambda: "shop",
            self.clock,
            processes=2,
            socket_path=path,
        )

    async def stats_of(self, queues: Sequence[str]) -> dict[str, QueueStats]:
        self.calls.append(list(queues))
        self.meanwhile()
        if isinstance(self.stats, Exception):
            raise self.stats
        return {name: found for name, found in self.stats.items() if name in queues}

    @property
    def live(self) -> bool:
        answer = self.health.answer("live")
        assert answer is not None
        return answer.ok

    async def steps(self) -> None:
        """Look as often as needed for the next call to the store."""
        self.clock.advance(5)
        await self.health.step()


async def test_the_store_is_not_asked_while_all_is_well() -> None:
    service = Service(WELL)
    for _ in range(3):
        await service.steps()
    assert (service.calls, service.live) == ([], True)


async def test_a_frozen_worker_is_told_once_and_is_a_reason_until_a_claim_comes_back(
    caplog: pytest.LogCaptureFixture,
) -> None:
    service = Service(FROZEN)
    for _ in range(3):
        await service.steps()
    assert (service.calls, service.live) == ([["mail"]] * 3, False)
    assert caplog.messages == [
        "worker 7 is frozen: it has free slots and due jobs in mail, and no claim of it has come back for 61 s; the "
        "service reports itself unhealthy"
    ]
    service.workers = (WELL,)
    await service.health.step()  # at once, without a call to the store
    assert (len(service.calls), service.live) == (3, True)


async def test_the_store_is_asked_every_five_seconds_at_most() -> None:
    service = Service(FROZEN)
    for _ in range(10):
        service.clock.advance(1)
        await service.health.step()
        assert not service.live
    assert len(service.calls) == 2


@pytest.mark.parametrize("error", [StoreUnavailable("away"), TimeoutError()])
async def test_a_store_that_does_not_answer_is_no_fault_of_the_worker_also_later(error: Exception) -> None:
    service = Service(FROZEN)
    await service.steps()
    assert not service.live
    service.stats = error
    await service.steps()
    assert service.live


async def test_a_claim_that_comes_back_while_the_store_is_asked_ends_the_suspicion() -> None:
    service = Service(FROZEN)

    def claims() -> None:
        service.workers = (WELL,)

    service.meanwhile = claims
    await service.steps()
    assert service.live


async def test_a_queue_without_due_jobs_is_no_reason() -> None:
    service = Service(FROZEN)
    service.stats = {"mail": QueueStats(ready=3, paused=True)}
    await service.steps()
    assert service.live


async def test_a_worker_that_has_ended_is_forgotten() -> None:
    service = Service(FROZEN)
    await service.steps()
    service.workers = ()
    await service.health.step()
    assert service.live


async def test_a_store_that_fails_in_another_way_is_told_and_no_reason(caplog: pytest.LogCaptureFixture) -> None:
    service = Service(FROZEN)
    service.stats = RuntimeError("a fault")
    await service.steps()
    assert service.live
    assert "a fault" in caplog.text


async def test_a_part_that_fails_is_logged_and_ends_nothing(
    caplog: pytest.LogCaptureFixture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The supervisor stops when one of its own tasks has ended."""

    async def fails(*_: object) -> None:
        raise RuntimeError("a fault")

    service = Service(WELL, path=str(tmp_path / "socket"))
    monkeypatch.setattr(service.health.server, "run", fails)
    service.health.listen(("127.0.0.1", 0))
    task = asyncio.create_task(service.health.run())
    await until(lambda: "a fault" in caplog.text, "it is told")
    await until(lambda: service.health.socket, "the local socket is there")
    assert not task.done()
    await cancel(task)


async def test_it_listens_when_an_address_is_known_and_the_first_one_counts(tmp_path: Path) -> None:
    service = Service(WELL, path=str(tmp_path / "socket"))
    task = asyncio.create_task(service.health.run())
    await until(lambda: service.health.socket, "the local socket is there")
    assert service.health.server.address is None
    service.health.listen(("127.0.0.1", 0))
    await until(lambda: service.health.server.address, "it listens")
    service.health.listen(("192.0.2.1", 1))
    assert set(service.health.pages) == {"/livez", "/readyz", "/startupz", "/autoscale"}
    await cancel(task)
    assert list(tmp_path.iterdir()) == []


async def test_the_states_of_the_workers_are_counted_when_the_metrics_are_read(
    caplog: pytest.LogCaptureFixture,
) -> None:
    service = Service(WELL)
    found = [each for each in meters.read() if each.metric.name == "outlast_worker_processes" and "shop" in each.labels]
    assert {each.labels[1]: each.values[0] for each in found}["consuming"] == 1.0
    with caplog.at_level(logging.DEBUG):
        service.health.refresh()
    assert caplog.messages == []
