"""The SQLite store's writing thread: shared commits, waits, cancellations, failures; each call gets an answer."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec import Raw, structs

from outlast.brokers.sqlite import SqliteStore, claim
from outlast.brokers.sqlite.transaction import Transaction
from outlast.brokers.sqlite.tuning import Tuning
from outlast.clients.sqlite.process_notifier import ProcessNotifier
from outlast.core.errors import StoreError, StoreUnavailable
from outlast.core.settlement import ACCEPTED, Note
from outlast.testing.clock import FakeClock
from tests.support.jobs import A, B, Desk, raw
from tests.support.polling import until
from tests.support.sqlite_file import commits, locked, look


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    """A fresh SQLite store, its waits short."""
    clock = FakeClock()
    store = SqliteStore(str(tmp_path / "jobs.db"), clock=clock, tuning=Tuning(busy=0.3, idle=0.05))
    await store.open()
    yield Desk(store, clock)
    await store.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The file."""
    return tmp_path / "jobs.db"


async def test_calls_of_one_round_share_one_commit(desk: Desk, path: Path) -> None:
    await desk.publish("q.0")
    before = commits(path)
    given = await asyncio.gather(*(desk.publish(f"q.{n}") for n in range(1, 201)))
    assert given == [[ACCEPTED]] * 200
    assert commits(path) - before == 1
    assert (await desk.stats()).depth == 201


async def test_calls_during_a_commit_share_the_next(desk: Desk, path: Path) -> None:
    await desk.publish("q.0")
    before = commits(path)

    async def one_after_the_other(name: int) -> None:
        for n in range(10):
            await desk.publish(f"q.{name}-{n}")

    await asyncio.gather(*(one_after_the_other(name) for name in range(50)))
    assert 10 <= commits(path) - before <= 20
    assert (await desk.stats()).depth == 501


async def test_all_kinds_of_calls_share_a_commit(desk: Desk, path: Path) -> None:
    await desk.publish("q.0", "q.1")
    await desk.claim(limit=1)
    before = commits(path)
    fence = desk.fence("q.0")
    await asyncio.gather(
        desk.publish("q.2"), desk.finish("q.0"), desk.claim(limit=1), desk.store.save([Note(fence, "progress", raw(1))])
    )
    assert commits(path) - before == 1


async def test_a_call_that_fails_fails_alone(desk: Desk) -> None:
    broken = structs.replace(desk.message("q.broken"), args=Raw(b"\xff"))
    good = [desk.publish(f"q.{n}") for n in range(5)]
    answers = await asyncio.gather(*good, desk.store.publish([broken]), desk.claim("r"), return_exceptions=True)
    assert answers[:5] == [[ACCEPTED]] * 5
    assert isinstance(answers[5], UnicodeDecodeError)
    assert answers[6] == []
    assert (await desk.stats()).depth == 5
    assert await desk.state("q.broken") == "unknown"


class Interrupted(BaseException):
    """Neither an Exception nor one of ours."""


@pytest.mark.parametrize("error", [RuntimeError("a bug"), AssertionError("a bug"), MemoryError(), Interrupted("stop")])
async def test_any_error_is_raised_to_the_caller_and_the_next_call_works(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    def fail(*_: object) -> Any:
        raise error

    await desk.publish("q.1")
    with monkeypatch.context() as patch:
        patch.setattr(claim, "claim", fail)
        answers = await asyncio.gather(desk.claim(), desk.claim(), return_exceptions=True)
    assert [type(answer) for answer in answers] == [type(error) if isinstance(error, Exception) else StoreError] * 2
    assert await desk.ids() == ["q.1"]


@pytest.mark.parametrize("where", ["begin", "find_queue"])
async def test_a_peek_that_fails_is_answered(desk: Desk, monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    def fail(*_: object) -> Any:
        raise RuntimeError("a bug")

    await desk.claim()
    with monkeypatch.context() as patch:
        patch.setattr(Transaction, where, fail)
        with pytest.raises(RuntimeError, match="a bug"):
            await desk.claim()
    await desk.publish("q.1")
    assert await desk.ids() == ["q.1"]


async def test_without_a_descriptor_for_notifications_calls_are_answered(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none_left(*_: object) -> Any:
        raise OSError(24, "Too many open files")

    with monkeypatch.context() as patch:
        patch.setattr("outlast.clients.sqlite.process_notifier.socket.socket", none_left)
        assert await desk.publish("q.1") == [ACCEPTED]


async def test_it_waits_for_another_programs_transaction(tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    desk = Desk(SqliteStore(str(path), clock=FakeClock(), tuning=Tuning(busy=60)), FakeClock())
    await desk.store.open()
    await desk.publish("q.1")
    with locked(path):
        waiting = asyncio.create_task(desk.publish("q.2"))
        assert await desk.state("q.1") == "ready", "who only looks does not wait"
        assert not waiting.done()
    assert await waiting == [ACCEPTED]
    await desk.store.close()


async def test_past_the_deadline_the_error_names_the_fix_and_nothing_is_lost(desk: Desk, path: Path) -> None:
    await desk.publish("q.1", "q.2")
    await desk.claim(limit=1)
    with locked(path):
        calls: list[Callable[[], Any]] = [
            lambda: desk.publish("q.3"),
            lambda: desk.finish("q.1"),
            lambda: desk.claim(holder=B),
            lambda: desk.extend(A),
        ]
        for call in calls:
            with pytest.raises(StoreUnavailable, match=r"jobs\.db has been locked by another.*fuser .*jobs\.db"):
                await call()
    assert await desk.state("q.3") == "unknown"
    assert await desk.publish("q.3") == [ACCEPTED]
    assert await desk.finish("q.1") == []
    assert await desk.ids(holder=B) == ["q.2", "q.3"]


async def test_the_transaction_of_a_killed_program_ends(desk: Desk, path: Path) -> None:
    with locked(path, "begin immediate; insert into queue(name, record_ttl, records_kept, dead_ttl, id_memory)"
                      " values('ghost', 1, 1, 1, 1)") as process:  # fmt: skip
        process.kill()
        process.wait()
        assert await desk.publish("q.1") == [ACCEPTED]
    assert list(await desk.store.stats([])) == ["q"]


async def test_a_cancelled_publish_that_had_not_begun_never_runs(desk: Desk, path: Path) -> None:
    with locked(path):
        first = asyncio.create_task(desk.publish("q.1"))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        second = asyncio.create_task(desk.publish("q.2"))
        await asyncio.sleep(0)
        second.cancel()
        with pytest.raises(asyncio.CancelledError):
            await second
    assert await first == [ACCEPTED]
    await desk.publish("q.3")
    assert [await desk.state(id) for id in ("q.1", "q.2", "q.3")] == ["ready", "unknown", "ready"]


async def test_a_claim_cancelled_during_its_transaction_releases_its_jobs(desk: Desk, path: Path) -> None:
    await desk.publish("q.1", "q.2")
    with locked(path):
        claiming = asyncio.create_task(desk.claim())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        claiming.cancel()
        with pytest.raises(asyncio.CancelledError):
            await claiming
    assert await desk.ids(holder=B, wait=60) == ["q.1", "q.2"]
    assert [(d.attempt, d.crashes) for d in desk.deliveries.values()] == [(1, 0), (1, 0)]


async def test_a_claim_cancelled_as_its_answer_arrives_releases_its_jobs(desk: Desk) -> None:
    """The answer and the cancellation meet in one round of the loop: the cancellation wins."""
    tasks: list[asyncio.Task[Any]] = []

    async def publish_then_cancel(desk: Desk, id: str) -> None:
        await desk.publish(id)
        tasks[-1].cancel()

    for turn in range(20):
        await desk.publish(f"q.{turn}")
        cancelling = asyncio.create_task(publish_then_cancel(desk, f"r.{turn}"))
        claiming = asyncio.create_task(desk.claim())
        await asyncio.sleep(0)
        tasks.append(claiming)
        await asyncio.wait([claiming, cancelling])
        assert claiming.cancelled()
        assert await desk.ids(holder=B, wait=60) == [f"q.{turn}"]
        assert await desk.finish(f"q.{turn}") == []


async def test_a_claim_cancelled_by_a_close_releases_its_jobs(desk: Desk, path: Path) -> None:
    await desk.publish("q.1")
    claiming: asyncio.Task[Any]

    async def cancel_and_close() -> None:
        await desk.publish("r.1")
        claiming.cancel()
        await desk.store.close()

    closing = asyncio.create_task(cancel_and_close())
    claiming = asyncio.create_task(desk.claim())
    await asyncio.wait([closing, claiming])
    assert claiming.cancelled()
    assert look(path, "select state, crashes from job where id = 'q.1'") == [(0, 0)]


async def test_close_finishes_what_was_submitted(desk: Desk) -> None:
    asked = [asyncio.create_task(desk.publish(f"q.{n}")) for n in range(50)]
    await asyncio.sleep(0)
    await desk.store.close()
    assert await asyncio.gather(*asked) == [[ACCEPTED]] * 50
    await desk.store.open()
    assert (await desk.stats()).depth == 50


async def test_after_close_every_call_raises(desk: Desk) -> None:
    waiting = asyncio.create_task(desk.claim(wait=60))
    ending = asyncio.create_task(desk.store.wait(["q.1"], 0))
    await ending
    await desk.store.close()
    with pytest.raises(StoreUnavailable, match=r"jobs\.db is not open here: await open\(\) before use"):
        await waiting
    for call in (lambda: desk.publish("q.1"), lambda: desk.stats(), lambda: desk.record("q.1"), lambda: desk.extend()):
        with pytest.raises(StoreUnavailable, match="is not open here"):
            await call()


async def test_a_cancelled_close_still_closes_the_file(desk: Desk, path: Path) -> None:
    await desk.publish("q.1")
    with locked(path):
        late = asyncio.create_task(desk.publish("q.2"))
        await asyncio.sleep(0)
        closing = asyncio.create_task(desk.store.close())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        closing.cancel()
        await asyncio.wait([closing, late])
    await until(lambda: not (path.parent / "jobs.db-wal").exists(), "the last connection empties the log and goes")
    await desk.store.open()
    assert await desk.state("q.1") == "ready"


async def test_a_holder_whose_first_claim_was_rolled_back_is_known_after_the_next(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: Transaction) -> None:
        raise StoreError("the disk is full")

    await desk.publish("q.1", delay=3600)
    with monkeypatch.context() as at_the_end:
        at_the_end.setattr(Transaction, "write_counts", fail)
        with pytest.raises(StoreError, match="the disk is full"):
            await desk.claim()
    assert (await desk.stats()).consumers == 0
    assert await desk.claim() == []
    assert (await desk.stats()).consumers == 1


async def test_a_claim_that_gives_nothing_uses_no_number_of_a_hand_out(desk: Desk, path: Path) -> None:
    await desk.publish("q.1", "r.1")
    await desk.claim("q", "r")
    before = look(path, "select fence from store")
    for holder in (A, B):
        for demand in ({"q": 1}, {"q": 1, "r": 1}):
            assert await desk.claim(demand=demand, holder=holder) == []
    assert look(path, "select fence from store") == before


async def test_idle_claims_write_nothing(desk: Desk, path: Path) -> None:
    assert await desk.claim() == []
    await desk.publish("later.1", delay=3600)
    await desk.publish("later.2", delay=3600, key="ann")
    await desk.publish("other.1", key="bob")
    await desk.claim("later", holder=B)
    log = path.with_name("jobs.db-wal")
    before = commits(path), path.stat().st_mtime_ns, log.stat().st_mtime_ns
    for _ in range(20):
        assert await desk.claim() == []
        assert await desk.claim("later", holder=B) == []
        together = await asyncio.gather(desk.claim(), desk.claim("later", holder=B), desk.claim(wait=0.01))
        assert [len(given) for given in together] == [0, 0, 0]
    assert (commits(path), path.stat().st_mtime_ns, log.stat().st_mtime_ns) == before


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_loop_that_ended_without_closing_leaves_no_thread_and_no_file_open(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "jobs.db"

    async def forgetful() -> None:
        store = SqliteStore(str(path), clock=FakeClock(), tuning=Tuning(idle=0.01))
        await store.open()
        await Desk(store, FakeClock()).publish("q.1")

    before = threading.active_count()
    asyncio.run(forgetful())
    asyncio.run(_gone(before))
    assert look(path, "select id from job") == [("q.1",)]
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


async def _gone(threads: int) -> None:
    await until(lambda: threading.active_count() <= threads, "the store's threads have ended")


async def test_two_hundred_opens_and_closes_leak_nothing(tmp_path: Path) -> None:
    async def live(n: int) -> None:
        store = SqliteStore(str(tmp_path / "jobs.db"), clock=FakeClock())
        await store.open()
        await Desk(store, FakeClock()).publish(f"q.{n}")
        await store.wait([f"q.{n}"], 0)
        await store.close()

    await live(0)
    before = len(list(Path("/proc/self/fd").iterdir())), threading.active_count()
    for n in range(1, 201):
        await live(n)
    assert (len(list(Path("/proc/self/fd").iterdir())), threading.active_count()) == before
    left = {entry.name for entry in tmp_path.iterdir()}
    assert left - {"jobs.db-bell"} == {"jobs.db", "jobs.db-lock"}
    assert list(ProcessNotifier(str(tmp_path / "jobs.db")).folder.iterdir()) == []


async def test_the_socket_of_a_killed_listener_is_deleted(desk: Desk, path: Path) -> None:
    import socket

    stale = ProcessNotifier(str(path)).folder / "work-1-dead"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as bell:
        bell.bind(str(stale))
    await desk.publish("q.1")
    await until(lambda: not stale.exists(), "nobody listens there")
    assert Raw(b"{}") == (await desk.claim())[0].message.args
