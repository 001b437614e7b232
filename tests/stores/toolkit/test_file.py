"""The toolkit's file: which commits are synced, what a new boot takes back, and a file that was replaced."""

from __future__ import annotations

from pathlib import Path

import pytest

from outlast.core.errors import StoreCorrupt
from outlast.core.toolkit_errors import ToolkitAway
from outlast.testing.clock import FakeClock
from outlast.toolkit import file as toolkit_file
from outlast.toolkit.access import Toolkit
from outlast.toolkit.file import FileSession, ToolkitFile
from outlast.toolkit.store import ToolkitStore

FULL, NORMAL = 2, 1


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "toolkit.db"


def how_synced(session: FileSession) -> int:
    return int(session.db.pragma("synchronous"))


async def test_a_commit_is_synced_when_one_of_its_operations_asks_for_it(path: Path) -> None:
    store = ToolkitFile(str(path), FakeClock())
    await store.open()
    found = [await store.write(how_synced, synced=each) for each in (True, False, False, True, False)]
    assert found == [FULL, NORMAL, NORMAL, FULL, NORMAL]
    await store.close()


def noting(ran: list[str], boot: str) -> int:
    ran.append(boot)
    return 1


async def test_leases_of_an_earlier_boot_are_taken_back_once(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[str] = []
    for boot in ("one", "one", "two"):
        monkeypatch.setattr(toolkit_file, "boot_id", lambda boot=boot: boot)
        monkeypatch.setattr(toolkit_file, "_after_boot", lambda boot=boot: f"select '{boot}' where {noting(ran, boot)}")
        store = ToolkitFile(str(path), FakeClock())
        await store.open()
        assert store.read_row("select boot from toolkit") == (boot,)
        await store.close()
    assert ran == ["one", "two"]


async def noted(store: ToolkitStore) -> int:
    assert isinstance(store, ToolkitFile)
    return await store.write(lambda session: session.run("create table noted (a)"), synced=True)


async def test_a_file_that_was_removed_is_made_again_at_the_next_use(path: Path) -> None:
    kit = Toolkit(f"sqlite:{path}", clock=FakeClock(), timeout=10)
    await kit.use(noted)
    for each in path.parent.glob("toolkit.db*"):
        each.unlink()
    with pytest.raises(ToolkitAway, match="was moved or removed") as caught:
        await kit.use(noted)
    assert caught.value.uncertain
    assert "Restart" not in str(caught.value)
    assert "The next use of the toolkit opens the file that is there, or a new one" in str(caught.value)
    kit._guard.renew()
    await kit.use(noted)
    assert path.exists()
    await kit.close()


async def test_the_file_of_the_jobs_is_no_file_of_the_toolkit(path: Path) -> None:
    from outlast.brokers.sqlite import SqliteStore

    jobs = SqliteStore(str(path), clock=FakeClock())
    await jobs.open()
    await jobs.close()
    with pytest.raises(StoreCorrupt, match="give Outlast a file of its own"):
        await ToolkitFile(str(path), FakeClock()).open()
