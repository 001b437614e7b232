"""A row of the spool that is no job, or one that the store cannot take, is set aside; the rows behind it arrive."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import apsw
import pytest

from outlast import ConfigurationError, JobEnqueued, JobRefused, Outlast, Settings, StoreUnavailable
from outlast.core.codec import encode
from outlast.core.message import Message
from outlast.core.settlement import ACCEPTED, UNROUTABLE, Exists, Published, TooLarge
from outlast.enqueue import spool as spool_module
from outlast.enqueue.spool import Spool
from outlast.enqueue.spool_file import SpoolFile
from tests.support.polling import until
from tests.support.sqlite_file import damage_page

app = Outlast("spooling")


@app.job(queue="q")
async def count(n: int) -> None: ...


def message(n: int) -> Message:
    return count.with_options(id=f"{n}").message(n)


def body(**changes: bytes) -> bytes:
    fields = {"id": b'"q.bad"', "queue": b'"q"', "kind": b'"count"', "args": b"{}", "enqueued_at": b"0", "run_at": b"0"}
    return b"{" + b",".join(b'"%b":%b' % (name.encode(), value) for name, value in {**fields, **changes}.items()) + b"}"


async def away() -> Any:
    raise StoreUnavailable("away")


class Recorder:
    """A store that accepts messages, except as its `answers` say by id; an exception is raised."""

    def __init__(self, **answers: Published | Exception) -> None:
        self.answers = {f"q.{name}": answer for name, answer in answers.items()}
        self.taken: list[str] = []
        self.calls = 0
        self.open = False

    async def __call__(self, messages: Sequence[Message]) -> list[Published]:
        if not self.open:
            raise StoreUnavailable("away")
        self.calls += 1
        answers: list[Published] = []
        for each in messages:
            answer = self.answers.get(each.id, ACCEPTED)
            if isinstance(answer, Exception):
                raise answer
            answers.append(answer)
        self.taken += [each.id for each, answer in zip(messages, answers, strict=True) if answer is ACCEPTED]
        return answers


async def relayed(tmp_path: Path, publish: Recorder, *rows: tuple[Any, Any, Any]) -> list[tuple[str, str]]:
    """Relay jobs 1 and 2 with these rows between them; return id and reason of those that were set aside."""
    path = str(tmp_path / "spool.db")
    spool = Spool(path, limit=100, publish=publish, same_kind=app.registry.same_kind)
    await spool.through([message(1)], away)
    db = apsw.Connection(path)
    db.executemany("insert into spooled (id, queue, body) values (?, ?, ?)", rows)
    db.close()
    await spool.through([message(2)], away)
    publish.open = True
    file = SpoolFile(path)
    await until(lambda: file.count()[0] == 0, "nothing is left to relay")
    await spool.close()
    assert [each for each in publish.taken if each in ("q.1", "q.2")] == ["q.1", "q.2"]
    assert len(file.refused(100)) == file.count()[1]
    return file.refused(100)


DEEP = b'{"n":' + b"[" * 10_000 + b"]" * 10_000 + b"}"
ROWS: dict[str, tuple[Any, Any, Any]] = {
    "deep": ("q.bad", "q", body(args=DEEP)),
    "deeper than a run reads": ("q.bad", "q", body(args=DEEP[5 + 9_800 : -1 - 9_800].join((b'{"n":', b"}")))),
    "bad UTF-8 in args": ("q.bad", "q", body(args=b'{"n":"\xff"}')),
    "bad UTF-8 in a field": ("q.bad", "q", body(key=b'"\xff"')),
    "bad UTF-8 as a key of args": ("q.bad", "q", body(args=b'{"\xff":1}')),
    "half a character": ("q.bad", "q", body(key=b'"\\ud800"')),
    "a number that nothing reads": ("q.bad", "q", body(args=b'{"n":1%b}' % (b"0" * 5000))),
    "a number out of range": ("q.bad", "q", body(run_at=b"1e400")),
    "a negative time": ("q.bad", "q", body(run_at=b"-1")),
    "an integer of 400 digits": ("q.bad", "q", body(enqueued_at=b"9" * 400)),
    "args that are a list": ("q.bad", "q", body(args=b"[1]")),
    "no JSON": ("q.bad", "q", b"\x00\x01\x02"),
    "nothing": ("q.bad", "q", b""),
    "cut": ("q.bad", "q", body()[:-9]),
    "a text as body": ("q.bad", "q", "no job"),
    "a number as body": ("q.bad", "q", 7),
    "a number as queue": ("q.bad", 7, body()),
    "a number as id": (7, "q", body()),
    "bytes as queue": ("q.bad", b"\xff\xfe", body()),
    "bytes as id": (b"\xff\xfe", "q", body()),
    "another queue": ("q.bad", "other", body()),
    "another id": ("q.other", "q", body()),
    "an id of another queue": ("q.bad", "q", body(id=b'"other.bad"')),
    "an id that ends in a dot": ("q.", "q", body(id=b'"q."')),
    "a kind that is none": ("q.bad", "q", body(kind=b'"1 2"')),
    "an unknown priority": ("q.bad", "q", body(priority=b'"urgent"')),
    "headers of the wrong type": ("q.bad", "q", body(headers=b'{"a":1}')),
}


@pytest.mark.parametrize("name", ROWS)
async def test_a_row_that_is_no_job(tmp_path: Path, name: str) -> None:
    ((id_, why),) = await relayed(tmp_path, Recorder(), ROWS[name])
    assert id_
    assert len(why) > 10


async def test_a_row_with_an_id_in_bad_utf_8(tmp_path: Path) -> None:
    path = str(tmp_path / "spool.db")
    SpoolFile(path).count()
    db = apsw.Connection(path)
    db.execute(
        "insert into spooled (id, queue, body) values (cast(x'71ff' as text), cast(x'71ff' as text), ?)", (body(),)
    )
    db.close()
    assert [each.id for each in SpoolFile(path).head(9)] == ["q\ufffd"]
    assert [id_ for id_, _ in await relayed(tmp_path, Recorder())] == ["q\ufffd"]


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (TooLarge(9, 8), "body of 9 bytes"),
        (UNROUTABLE, "declare the queue"),
        (Exists("q.7", "id", "invoice"), "belongs to a job of kind 'invoice'"),
        (Exists("q.8", "unique", "invoice"), "is held by job 'q.8' of kind 'invoice'"),
        (ValueError("surrogates not allowed"), "ValueError: surrogates not allowed"),
    ],
)
async def test_a_job_that_the_store_never_takes(tmp_path: Path, answer: Any, why: str) -> None:
    publish = Recorder(**{"7": answer})
    ((id_, reason),) = await relayed(tmp_path, publish, ("q.7", "q", encode(message(7))))
    assert id_ == "q.7"
    assert why in reason


async def test_a_job_that_is_there_has_arrived(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    publish = Recorder(**{"7": Exists("q.7", "id", "count"), "8": Exists("q.9", "unique", "")})
    rows = [(f"q.{n}", "q", encode(message(n))) for n in (7, 8)]
    assert await relayed(tmp_path, publish, *rows) == []
    assert "spooled job q.8 is not stored: job q.9 holds its unique key" in caplog.text


@pytest.mark.parametrize(
    ("error", "calls"), [(ConfigurationError("queue 'q' belongs to app 'other'"), 1), (ValueError("a bug"), 3)]
)
async def test_an_error_about_all_of_them_sets_nothing_aside(tmp_path: Path, error: Exception, calls: int) -> None:
    publish = Recorder(**{"1": error, "2": error})
    path = str(tmp_path / "spool.db")
    spool = Spool(path, limit=100, publish=publish, same_kind=app.registry.same_kind)
    publish.open = True
    await spool.through([message(1), message(2)], away)
    await until(lambda: publish.calls == calls, "both were tried")
    await spool.close()
    assert SpoolFile(path).count() == (2, 0)


async def test_a_job_is_kept_in_the_file_that_is_there_after_another_program_moved_it(tmp_path: Path) -> None:
    publish, path = Recorder(), tmp_path / "spool.db"
    spool = Spool(str(path), limit=100, publish=publish, same_kind=app.registry.same_kind)
    await spool.through([message(1)], away)
    for each in tmp_path.glob("spool.db*"):
        each.rename(tmp_path / f"old-{each.name}")
    assert (await spool.through([message(2)], away))[0] == [ACCEPTED]
    await spool.close()
    assert [row.id for row in SpoolFile(str(path)).head(10)] == ["q.2"]


async def test_a_damaged_page_holds_up_no_job_of_another(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    publish, path = Recorder(), tmp_path / "spool.db"
    spool = Spool(str(path), limit=1000, publish=publish, same_kind=app.registry.same_kind)
    await spool.through([message(n) for n in range(300)], away)
    await spool.close()
    damage_page(path, "spooled", 0)
    publish.open = True
    spool = Spool(str(path), limit=1000, publish=publish, same_kind=app.registry.same_kind)
    spool.relay()
    await until(lambda: "is damaged: " in caplog.text, "the damage is told")
    await spool.close()
    assert 300 > len(set(publish.taken)) == len(publish.taken) > 250
    assert publish.taken[-1] == "q.299"
    assert "the store has all jobs" not in caplog.text


async def test_a_full_queue_is_told_once_for_each_job_until_it_has_room(tmp_path: Path) -> None:
    shop = Outlast("shop", settings=Settings(url=f"sqlite:{tmp_path}/jobs.db", spool=str(tmp_path / "spool.db")))
    shop.queue("q", max_depth=1)
    told: list[tuple[str, str]] = []
    shop.observe(JobEnqueued, JobRefused)(lambda event: told.append((type(event).__name__, event.id)))

    @shop.job(queue="q")
    async def send() -> None: ...

    async with shop:
        first = await send.with_options(id="1").enqueue()
        late = [send.with_options(id=name).message() for name in ("2", "3")]
        spool = shop._wired().spool
        assert spool is not None
        relay = spool._publish
        for _ in range(3):
            await relay(late)
        assert await first.cancel()
        await relay(late)
        await relay(late[1:])
    assert told == [
        ("JobEnqueued", "q.1"),
        ("JobRefused", "q.2"),
        ("JobRefused", "q.3"),
        ("JobEnqueued", "q.2"),
    ]


async def test_a_loop_that_closes_the_spool_takes_the_thread_of_the_file_from_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish = Recorder()
    spool = Spool(str(tmp_path / "spool.db"), limit=9, publish=publish, same_kind=app.registry.same_kind)
    closers: list[threading.Thread] = []

    class Interrupted(ThreadPoolExecutor):
        """Another loop closes the spool as soon as work is to be given to the thread of its file."""

        def submit(self, *args: Any, **options: Any) -> Any:
            closer = threading.Thread(target=lambda: asyncio.run(spool.close()))
            closers.append(closer)
            closer.start()
            while closer.is_alive() and not spool._lock.locked():
                pass
            return super().submit(*args, **options)

    monkeypatch.setattr(spool_module, "ThreadPoolExecutor", Interrupted)
    await spool.through([message(1)], away)
    await spool.through([message(2)], away)
    for each in closers:
        await asyncio.to_thread(each.join)
    assert SpoolFile(str(tmp_path / "spool.db")).count() == (2, 0)
    await spool.close()
    assert not [each for each in threading.enumerate() if each.name.startswith("outlast-spool")]
