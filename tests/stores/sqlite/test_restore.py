"""A backup takes the place of the store in one step, whatever uses the store; what is replaced stays complete."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import apsw
import pytest

from outlast.brokers.sqlite import SqliteStore
from outlast.brokers.sqlite.copies import restore_store
from outlast.brokers.sqlite.statements import migrations, open_store
from outlast.brokers.sqlite.tuning import Tuning
from outlast.core.errors import StoreCorrupt, StoreError, StoreMissing, StoreMoved, StoreUnavailable
from outlast.core.settlement import Finish
from outlast.testing.clock import FakeClock
from tests.support.jobs import Desk
from tests.support.sqlite_file import locked, look

QUICK = Tuning(busy=0.05)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "jobs.db"


@pytest.fixture
def backup(tmp_path: Path) -> Path:
    return tmp_path / "backup.db"


async def opened(path: Path) -> Desk:
    clock = FakeClock()
    desk = Desk(SqliteStore(str(path), clock=clock), clock)
    await desk.store.open()
    return desk


async def backed_up(path: Path, backup: Path) -> Desk:
    """Return an open store of q.0 and q.1, of which `backup` has the first."""
    desk = await opened(path)
    await desk.publish("q.0")
    await desk.store.backup(str(backup))  # type: ignore[attr-defined]
    await desk.publish("q.1")
    return desk


def ids(path: Path | str) -> set[object]:
    assert look(Path(path), "pragma integrity_check") == [("ok",)]
    return {id for (id,) in look(Path(path), "select id from job")}


async def test_a_store_in_use_is_replaced(path: Path, backup: Path) -> None:
    desk = await backed_up(path, backup)
    aside = restore_store(str(backup), str(path))
    with pytest.raises(StoreMoved, match="was replaced by another file"):
        await desk.publish("q.lost")
    new = await opened(path)
    assert await new.publish("q.2") == await new.publish("q.3")
    await desk.store.close()
    await new.publish("q.4")
    await new.store.close()
    assert ids(path) == {"q.0", "q.2", "q.3", "q.4"}
    assert {"q.0", "q.1"} <= ids(aside)
    assert ids(backup) == {"q.0"}
    assert sorted(each.name for each in path.parent.iterdir() if each.is_file()) == [
        *sorted(["backup.db", "jobs.db", "jobs.db-lock", Path(aside).name])
    ]


async def test_a_store_at_rest_is_kept_as_one_file(path: Path, backup: Path) -> None:
    desk = await backed_up(path, backup)
    await desk.store.close()
    aside = Path(restore_store(str(backup), str(path)))
    assert not aside.with_name(f"{aside.name}-wal").exists()
    assert (ids(path), ids(aside)) == ({"q.0"}, {"q.0", "q.1"})
    assert path.stat().st_nlink == aside.stat().st_nlink == 1


async def test_the_log_of_a_process_that_was_killed_is_kept_with_its_file(path: Path, backup: Path) -> None:
    await (await backed_up(path, backup)).store.close()
    code = "import os, sys, apsw; db = apsw.Connection(sys.argv[1]); db.pragma('wal_autocheckpoint', 0)\n"
    code += "db.execute('''update job set id = 'q.renamed' where id = 'q.1' ''').fetchall(); os._exit(0)"
    subprocess.run([sys.executable, "-c", code, str(path)], check=True)
    assert path.with_name("jobs.db-wal").stat().st_size > 0
    aside = restore_store(str(backup), str(path))
    assert (ids(path), ids(aside)) == ({"q.0"}, {"q.0", "q.renamed"})


async def test_a_late_report_counts_nowhere_in_the_restored_store(path: Path, backup: Path) -> None:
    desk = await backed_up(path, backup)
    fences = [each.fence for each in await desk.claim(limit=1)]
    for _ in range(2):  # the same backup twice
        restore_store(str(backup), str(path))
        await desk.store.close()
        desk = await opened(path)
        (again,) = await desk.claim(limit=1)
        assert again.message.id == "q.0"
        for fence in fences:
            assert [each.fence for each in await desk.store.settle([Finish(fence, "succeeded")])] == [fence]
        assert await desk.state("q.0") == "running"
        fences.append(again.fence)
    await desk.store.close()


async def test_a_store_that_is_missing_is_made(path: Path, backup: Path) -> None:
    desk = await backed_up(path, backup)
    path.rename(path.with_name("gone.db"))
    assert restore_store(str(backup), str(path)) == ""
    await desk.store.close()
    assert ids(path) == {"q.0"}
    (log,) = path.parent.glob("jobs.db.replaced-*-wal")
    log.rename(path.with_name("gone.db-wal"))
    assert {"q.0", "q.1"} <= ids(path.with_name("gone.db"))


async def test_a_link_stays_a_link(path: Path, backup: Path, tmp_path: Path) -> None:
    await (await backed_up(path, backup)).store.close()
    (tmp_path / "link.db").symlink_to(path)
    restore_store(str(backup), os.path.realpath(tmp_path / "link.db"))
    assert (tmp_path / "link.db").is_symlink()
    assert ids(path) == {"q.0"}


async def test_owner_and_mode_stay(path: Path, backup: Path) -> None:
    await (await backed_up(path, backup)).store.close()
    path.chmod(0o640)
    if os.geteuid() == 0:
        os.chown(path, 65534, 65534)
    before = path.stat()
    restore_store(str(backup), str(path))
    after = path.stat()
    assert (after.st_uid, after.st_gid, after.st_mode) == (before.st_uid, before.st_gid, before.st_mode)


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def scribble(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[4096 * 3 : 4096 * 9] = b"\x07" * 4096 * 6
    path.write_bytes(data)


def theirs(path: Path) -> None:
    path.unlink()
    look(path, "create table theirs(x)")


def newer(path: Path) -> None:
    look(path, "update store set oldest_code = 99")
    look(path, "pragma user_version = 99")


@pytest.mark.parametrize(
    ("spoil", "error", "said"),
    [
        (cut, StoreCorrupt, r"(?s)backup\.db is damaged .*(name another backup|restore the newest backup)"),
        (scribble, StoreCorrupt, r"(?s)backup\.db is damaged .*(name another backup|restore the newest backup)"),
        (theirs, StoreCorrupt, r"backup\.db is not a backup of Outlast"),
        (newer, StoreError, r"backup\.db has schema 99, .* upgrade outlast here"),
        (lambda path: path.write_text("text" * 2000), StoreCorrupt, r"backup\.db is not an SQLite file"),
        (Path.unlink, StoreMissing, r"backup\.db is no file: name a backup"),
    ],
)
async def test_what_is_no_good_backup_is_refused_and_the_store_goes_on(
    path: Path, backup: Path, spoil: Callable[[Path], object], error: type[StoreError], said: str
) -> None:
    desk = await backed_up(path, backup)
    spoil(backup)
    before = sorted(path.parent.iterdir())
    with pytest.raises(error, match=said):
        restore_store(str(backup), str(path))
    assert sorted(path.parent.iterdir()) == before
    await desk.publish("q.2")
    await desk.store.close()
    assert ids(path) == {"q.0", "q.1", "q.2"}


async def test_the_store_is_no_backup_of_itself(path: Path, backup: Path) -> None:
    await (await backed_up(path, backup)).store.close()
    with pytest.raises(StoreError, match="is the store itself"):
        restore_store(str(path), str(path))


async def test_a_file_of_another_program_is_not_replaced(path: Path, backup: Path) -> None:
    await (await backed_up(path, backup)).store.close()
    path.unlink()
    look(path, "pragma application_id = 7")
    look(path, "create table theirs(x)")
    with pytest.raises(StoreCorrupt, match=r"jobs\.db is an SQLite file of another program: it is not replaced"):
        restore_store(str(backup), str(path))
    assert look(path, "select count(*) from theirs") == [(0,)]


@pytest.mark.parametrize("spoil", [cut, scribble, lambda path: path.write_text("text" * 2000)])
async def test_a_damaged_store_is_replaced(path: Path, backup: Path, spoil: Callable[[Path], object]) -> None:
    await (await backed_up(path, backup)).store.close()
    spoil(path)
    damaged = path.read_bytes()
    aside = Path(restore_store(str(backup), str(path)))
    assert aside.read_bytes() == damaged
    assert ids(path) == {"q.0"}


async def test_a_store_that_was_overwritten_in_place_is_replaced(path: Path, backup: Path) -> None:
    desk = await backed_up(path, backup)
    shutil.copyfile(backup, path)
    with pytest.raises(StoreCorrupt, match="was overwritten in place"):
        open_store(str(path), QUICK)
    restore_store(str(backup), str(path))
    with pytest.raises(StoreError):
        await desk.publish("q.lost")
    await desk.store.close()
    assert ids(path) == {"q.0"}


async def test_a_backup_of_the_first_schema_gets_an_id(path: Path, backup: Path) -> None:
    await (await backed_up(path, backup)).store.close()
    old = path.with_name("first.db")
    open_store(str(old), QUICK, steps={1: migrations()[1]}).close()
    restore_store(str(old), str(path))
    await (await opened(path)).store.close()
    assert len(look(path, "select id from file")) == 1
    assert ids(path) == set()


async def test_a_copy_with_its_log_is_a_backup_too(path: Path, backup: Path) -> None:
    desk = await backed_up(path, backup)
    copy = path.with_name("copy.db")
    for suffix in ("", "-wal"):
        shutil.copyfile(f"{path}{suffix}", f"{copy}{suffix}")
    before = copy.read_bytes()
    restore_store(str(copy), str(path))
    assert copy.read_bytes() == before
    await desk.store.close()
    assert ids(path) == {"q.0", "q.1"}


async def test_a_transaction_that_does_not_end_keeps_the_store(path: Path, backup: Path) -> None:
    await (await backed_up(path, backup)).store.close()
    with locked(path), pytest.raises(StoreUnavailable, match="has been locked by another process for too long"):
        restore_store(str(backup), str(path), QUICK)
    assert ids(path) == {"q.0", "q.1"}


@pytest.mark.parametrize("step", ["link", "chown", "replace", "unlink", "fsync"])
@pytest.mark.parametrize("nth", [1, 2, 3])
async def test_a_failure_on_the_way_leaves_a_whole_store(
    path: Path, backup: Path, step: str, nth: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The old one, or the new one; what was accepted is in the one that is there or in the one that is kept."""
    desk = await backed_up(path, backup)
    calls = 0

    def failing(was: Callable[..., object]) -> Callable[..., object]:
        def call(*args: object, **options: object) -> object:
            nonlocal calls
            calls += 1
            if calls == nth:
                raise OSError(5, "Input/output error")
            return was(*args, **options)

        return call

    with monkeypatch.context() as patched:
        place = Path if step in ("replace", "unlink") else os
        patched.setattr(place, step, failing(getattr(place, step)))
        try:
            restore_store(str(backup), str(path))
        except StoreUnavailable:
            assert calls >= nth
    await desk.store.close()
    new = await opened(path)
    await new.publish("q.2")
    await new.store.close()
    there = ids(path)
    assert there in ({"q.0", "q.2"}, {"q.0", "q.1", "q.2"})
    kept = [each for each in path.parent.glob("jobs.db.replaced-*") if not each.name.endswith(("-wal", "-shm"))]
    assert "q.1" in set().union(there, *map(ids, kept))


def test_a_folder_that_is_missing_is_named(path: Path, backup: Path) -> None:
    open_store(str(backup), QUICK).close()
    with pytest.raises(StoreUnavailable, match="does its folder exist"):
        restore_store(str(backup), str(path.parent / "nowhere" / "jobs.db"))


def test_a_backup_in_a_folder_that_cannot_be_written_is_read(path: Path, backup: Path) -> None:
    open_store(str(backup), QUICK).close()
    there = backup.with_name("read-only")
    there.mkdir()
    backup.rename(there / "backup.db")
    before = sorted(there.iterdir())
    restore_store(str(there / "backup.db"), str(path))
    assert sorted(there.iterdir()) == before
    assert ids(path) == set()


def test_the_restored_file_is_a_store(path: Path, backup: Path) -> None:
    open_store(str(backup), QUICK).close()
    restore_store(str(backup), str(path))
    db: apsw.Connection = open_store(str(path), QUICK)
    assert str(db.pragma("journal_mode")) == "wal"
    db.close()
