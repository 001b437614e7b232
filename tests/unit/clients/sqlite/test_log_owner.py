"""A log is read with its own file only: another one that took the place of the file is opened without it."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import apsw
import pytest

from outlast.clients.sqlite.connection import creation_lock, open_file
from outlast.clients.sqlite.file_identity import FileIdentity
from outlast.clients.sqlite.log_owner import owner_noted, wrong_log
from outlast.core.errors import StoreCorrupt, StoreUnavailable
from tests.support.sqlite_file import look

ROOT = Path(__file__).parents[4]
SCHEMA = {
    1: "create table file(id text not null); insert into file values(hex(randomblob(8))); create table entry(name)",
}


def opened(path: Path, identity: FileIdentity | None = None) -> apsw.Connection:
    return open_file(str(path), application_id=7, migrations=SCHEMA, identity=identity)


def add(path: Path, *names: str) -> None:
    """Write to the file, and close it."""
    db = opened(path)
    db.executemany("insert into entry values(?)", [(name,) for name in names])
    db.close()


def names(path: Path) -> list[object]:
    """Return what the file has, as the next process sees it."""
    db = opened(path)
    try:
        assert db.execute("pragma quick_check").get == "ok"
        return [name for (name,) in db.execute("select name from entry order by name")]
    finally:
        db.close()


def names_elsewhere(path: Path) -> object:
    """Return what the file has, as another process sees it that opens it now."""
    code = "import sys; from pathlib import Path; from tests.unit.clients.sqlite.test_log_owner import names; "
    code += "print(names(Path(sys.argv[1])))"
    command = [sys.executable, "-c", code, str(path)]
    return ast.literal_eval(subprocess.run(command, cwd=ROOT, capture_output=True, check=True, text=True).stdout)


@contextmanager
def killed(path: Path, *names: str) -> Iterator[None]:
    """A process wrote to the file's log and was killed: the log stays, as large as it was."""
    db = opened(path)
    db.execute("insert into entry values('first')")
    db.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
    db.executemany("insert into entry values(?)", [(name,) for name in names])
    db.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
    db.close()
    yield


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "entries.db"


@pytest.fixture
def backup(path: Path) -> Path:
    """A file of another id."""
    made = path.with_name("backup.db")
    add(made, "saved")
    return made


def aside(path: Path) -> list[Path]:
    return sorted(path.parent.glob("entries.db.replaced-*-wal"))


def test_the_log_of_a_process_that_was_killed_is_read(path: Path) -> None:
    with killed(path, "second"):
        assert wrong_log(str(path)) == ""
        assert names(path) == ["first", "second"]
    assert aside(path) == []


@pytest.mark.parametrize("copied", [False, True])
def test_a_file_moved_over_another_is_read_without_its_log(
    path: Path, backup: Path, copied: bool, caplog: pytest.LogCaptureFixture
) -> None:
    if copied:  # of the same id
        add(path, "zero")
        shutil.copyfile(path, backup)
    with killed(path, "second"):
        path.rename(path.with_name("replaced.db"))
        backup.rename(path)
    assert wrong_log(str(path)).startswith("the file took the place of another one")
    assert names(path) == (["zero"] if copied else ["saved"])
    assert "entries.db-wal was the log of another file" in caplog.text
    (log,) = aside(path)
    log.rename(path.with_name("replaced.db-wal"))
    assert names(path.with_name("replaced.db"))[-2:] == ["first", "second"] if not copied else ["second", "zero"]


def test_a_new_file_does_not_get_the_log_of_one_that_was_moved_away(path: Path) -> None:
    with killed(path, "second"):
        path.rename(path.with_name("replaced.db"))
    assert names(path) == []
    (log,) = aside(path)
    log.rename(path.with_name("replaced.db-wal"))
    assert names(path.with_name("replaced.db")) == ["first", "second"]


def test_a_file_overwritten_in_place_under_its_log_is_refused(path: Path, backup: Path) -> None:
    with killed(path, "second"):
        shutil.copyfile(backup, path)
    assert wrong_log(str(path)) == "the file was overwritten in place under its log"
    with pytest.raises(StoreCorrupt, match=r"entries\.db was overwritten in place.*outlast restore BACKUP"):
        names(path)


def test_a_file_overwritten_in_place_by_one_without_an_id_is_refused(path: Path) -> None:
    old = path.with_name("old.db")
    open_file(str(old), application_id=7, migrations={1: "create table entry(name)"}).close()
    with killed(path, "second"):
        shutil.copyfile(old, path)
    with pytest.raises(StoreCorrupt, match="was overwritten in place"):
        names(path)


def test_a_file_that_was_overwritten_while_no_process_had_it_open_is_read(path: Path, backup: Path) -> None:
    add(path, "first")
    shutil.copyfile(backup, path)
    assert names(path) == ["saved"]


def test_a_file_and_its_log_are_moved_or_copied_together(path: Path, tmp_path: Path) -> None:
    there = tmp_path / "there"
    with killed(path, "second"):
        shutil.copytree(tmp_path, there, ignore=shutil.ignore_patterns("there"))
    assert names(there / "entries.db") == ["first", "second"]
    moved = tmp_path / "moved"
    moved.mkdir()
    for each in list(tmp_path.glob("entries.db*")):
        each.rename(moved / each.name)
    assert names(moved / "entries.db") == ["first", "second"]


def test_code_that_writes_no_owner_leaves_a_log_that_is_read(path: Path) -> None:
    with killed(path, "second"):
        os.truncate(f"{path}-lock", 0)
        assert names(path) == ["first", "second"]


@pytest.mark.parametrize("text", [b"", b"{", b"[1]", b'{"id": 7}', b"\xff" * 9000])
def test_a_lock_file_that_cannot_be_read_judges_nothing(path: Path, text: bytes) -> None:
    with killed(path, "second"):
        path.with_name("entries.db-lock").write_bytes(text)
        assert names(path) == ["first", "second"]


def test_an_index_without_its_log_is_not_read(path: Path) -> None:
    """A process that goes on with a removed log shares the index: its state is of that log."""
    identity = FileIdentity(str(path))
    db = opened(path, identity)
    db.execute("insert into entry values('first')")
    db.wal_checkpoint()
    db.execute("insert into entry values('second')")
    path.with_name("entries.db-wal").unlink()
    with pytest.raises(StoreUnavailable):  # SQLite shares one index within a process
        opened(path, FileIdentity(str(path)))
    assert identity.is_moved()
    assert names_elsewhere(path) == ["first"]
    identity.close(db)
    assert names(path) == ["first"]


def test_the_owner_is_noted_once_the_file_is_open(path: Path) -> None:
    db = opened(path)
    with creation_lock(str(path)) as lock:
        noted = owner_noted(lock)
    assert noted.file == path.stat().st_ino
    assert noted.log == path.with_name("entries.db-wal").stat().st_ino
    assert [(noted.id,)] == look(path, "select id from file")
    db.close()


def test_a_lock_file_that_is_a_link_is_not_followed(path: Path, tmp_path: Path) -> None:
    path.with_name("entries.db-lock").symlink_to(tmp_path / "victim")
    with pytest.raises(StoreUnavailable, match="symbolic link"):
        opened(path)
    assert not (tmp_path / "victim").exists()
