"""One writing thread over a file that has no jobs: shared commits, failures alone, undone calls, notifications."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from outlast.aio.notifier import Notifier
from outlast.clients.sqlite.checkpointer import Checkpointer
from outlast.clients.sqlite.connection import SharedConnection, open_file
from outlast.clients.sqlite.file_identity import FileIdentity
from outlast.clients.sqlite.process_notifier import ProcessNotifier
from outlast.clients.sqlite.tuning import FileTuning
from outlast.clients.sqlite.writer import WriteOperation, WriterThread
from outlast.core.errors import StoreError, StoreUnavailable


class Entries:
    """A session over a table of entries."""

    def __init__(self, db: SharedConnection) -> None:
        self.db = db
        self.changes: list[str] = []
        self.batches: list[int] = []
        self.rollbacks = 0

    def begin(self) -> None:
        self.changes.clear()

    def rolled_back(self) -> None:
        self.changes.clear()
        self.rollbacks += 1


class NoUpkeep:
    """Nothing to do between batches."""

    next_at = float(2**31)
    wrote = 0

    def look(self, free: Callable[[], bool]) -> None:
        raise AssertionError("its time never comes")

    def close(self) -> None:
        pass


def apply(session: Entries, batch: list[WriteOperation[Entries]]) -> list[Any]:
    session.batches.append(len(batch))
    return [(operation, operation.run(session), None) for operation in batch]


def add(name: str) -> Callable[[Entries], str]:
    def run(session: Entries) -> str:
        session.db.execute("insert into entry values(?)", (name,))
        session.changes.append("entries")
        return name

    return run


class Writing:
    """A writer, its session and its notifier."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)
        self.identity = FileIdentity(self.path)
        schema = {1: "create table entry(name text primary key)"}
        self.db = open_file(self.path, application_id=7, migrations=schema, identity=self.identity)
        self.session = Entries(self.db)
        self.notifier = Notifier()
        self.checkpointer = Checkpointer(self.identity, self.db, FileTuning())
        self.thread = WriterThread(
            self.session,
            self.identity,
            apply=apply,
            notifiers={"entries": self.notifier},
            processes=ProcessNotifier(self.path),
            checkpointer=self.checkpointer,
            upkeep=NoUpkeep(),
            abandoned=self.checkpointer.close,
        )

    async def add(self, name: str, **options: Any) -> str:
        result: str = await self.thread.submit(WriteOperation(add(name), **options))
        return result

    def names(self) -> list[str]:
        return [name for (name,) in self.db.execute("select name from entry order by name")]

    async def close(self) -> None:
        await self.thread.close()
        await asyncio.to_thread(self.thread.join)
        self.checkpointer.close()
        self.db.close()


@pytest.fixture
async def writing(tmp_path: Path) -> AsyncIterator[Writing]:
    writing = Writing(tmp_path / "entries.db")
    yield writing
    await writing.close()


async def test_operations_of_one_round_are_one_transaction_and_one_notification(writing: Writing) -> None:
    assert await asyncio.gather(*(writing.add(name) for name in "abc")) == ["a", "b", "c"]
    assert writing.session.batches == [3]
    assert writing.notifier.count == 1


async def test_one_that_fails_is_run_alone_and_fails_alone(writing: Writing) -> None:
    await writing.add("b")
    answers = await asyncio.gather(*(writing.add(name) for name in "abc"), return_exceptions=True)
    assert (answers[0], type(answers[1]), answers[2]) == ("a", StoreError, "c")
    assert "UNIQUE constraint failed" in str(answers[1])
    assert writing.names() == ["a", "b", "c"]
    assert writing.session.rollbacks == 2


async def test_a_peek_that_answers_needs_no_transaction(writing: Writing) -> None:
    assert await writing.add("a", peek=lambda session: "known") == "known"
    assert (writing.session.batches, writing.notifier.count) == ([], 0)
    assert await writing.add("a", peek=lambda session: None) == "a"


async def test_a_result_that_a_cancelled_caller_did_not_get_is_undone(writing: Writing) -> None:
    began, go_on = threading.Event(), threading.Event()

    def run(session: Entries) -> str:
        began.set()
        go_on.wait(10)
        return add("a")(session)

    def undo(name: str) -> Callable[[Entries], Any]:
        return lambda session: session.db.execute("delete from entry where name = ?", (name,)).fetchall()

    adding = asyncio.create_task(writing.thread.submit(WriteOperation(run, undo=undo)))
    await asyncio.to_thread(began.wait, 10)
    adding.cancel()
    await asyncio.wait([adding])
    go_on.set()
    await writing.add("b")
    await writing.add("c")
    assert writing.names() == ["b", "c"]
    assert sum(writing.session.batches) == 4


async def test_after_close_it_raises(tmp_path: Path) -> None:
    writing = Writing(tmp_path / "entries.db")
    await writing.close()
    with pytest.raises(StoreUnavailable, match=r"entries\.db is closed in this process"):
        await writing.add("a")
