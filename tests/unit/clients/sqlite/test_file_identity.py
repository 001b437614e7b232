"""What happens to an open file, its log, its index or its folder is noticed; another file is not touched then."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import apsw
import pytest

from outlast.clients.sqlite.connection import open_file
from outlast.clients.sqlite.file_identity import FileIdentity
from outlast.core.errors import StoreMoved, StoreUnavailable

SCHEMA = {1: "create table file(id text not null); insert into file values('one'); create table entry(x)"}


class Opened:
    """A file `entries.db` in a folder of its own, open, with one committed row in its log."""

    def __init__(self, path: Path, given: Path | None = None) -> None:
        self.path = path
        self.identity = FileIdentity(str(given or path))
        self.db = open_file(str(path), application_id=7, migrations=SCHEMA, identity=self.identity)
        self.db.execute("insert into entry values(1)")

    def close(self) -> None:
        self.identity.close(self.db)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    folder = tmp_path / "folder"
    folder.mkdir()
    return folder / "entries.db"


def beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def other(path: Path) -> Path:
    """Return another file of the same kind, closed."""
    made = path.with_name("other.db")
    open_file(str(made), application_id=7, migrations=SCHEMA).close()
    return made


def all_files(path: Path, act: Callable[[Path], object]) -> None:
    for each in [path, beside(path, "-wal"), beside(path, "-shm")]:
        act(each)


def exchange(path: Path) -> None:
    """Replace a file by a copy of itself."""
    copy = path.with_name("copy")
    shutil.copyfile(path, copy)
    copy.replace(path)


def folder_instead(path: Path) -> None:
    path.unlink()
    path.mkdir()


def log_and_index_removed(path: Path) -> None:
    beside(path, "-wal").unlink()
    beside(path, "-shm").unlink()


def rename_folder(path: Path) -> None:
    path.parent.rename(path.parent.with_name("renamed"))


def replace_folder(path: Path) -> None:
    rename_folder(path)
    shutil.copytree(path.parent.with_name("renamed"), path.parent)


TAMPERINGS: dict[str, Callable[[Path], object]] = {
    "moved": lambda path: path.rename(beside(path, ".old")),
    "moved with its log": lambda path: all_files(path, lambda each: each.rename(beside(each, ".old"))),
    "removed": Path.unlink,
    "removed with its log": lambda path: all_files(path, lambda each: each.unlink()),
    "replaced by another": lambda path: other(path).replace(path),
    "replaced by a copy of itself": exchange,
    "a folder at its place": folder_instead,
    "log removed": lambda path: all_files(beside(path, "-wal"), lambda each: each.unlink(missing_ok=True)),
    "log replaced": lambda path: exchange(beside(path, "-wal")),
    "index removed": lambda path: all_files(beside(path, "-shm"), lambda each: each.unlink(missing_ok=True)),
    "index replaced": lambda path: exchange(beside(path, "-shm")),
    "log and index removed": log_and_index_removed,
    "folder renamed": rename_folder,
    "folder replaced": replace_folder,
    "folder removed": lambda path: shutil.rmtree(path.parent),
}


@pytest.mark.parametrize("what", TAMPERINGS)
def test_it_is_noticed_and_stays_so(path: Path, what: str, caplog: pytest.LogCaptureFixture) -> None:
    opened = Opened(path)
    opened.identity.check()
    TAMPERINGS[what](path)
    for _ in range(2):
        with pytest.raises(StoreMoved, match=r"entries\.db.* was .* Restart it to use the file that is there"):
            opened.identity.check()
    assert opened.identity.is_moved()
    assert [record.levelname for record in caplog.records] == ["ERROR"], "one line"
    if path.parent.exists():
        with pytest.raises(StoreMoved):
            opened.identity.connect()
    opened.close()


def test_one_that_is_put_back_may_have_been_used_under_another_name(path: Path) -> None:
    opened = Opened(path)
    path.rename(beside(path, ".old"))
    assert opened.identity.is_moved()
    beside(path, ".old").rename(path)
    with pytest.raises(StoreMoved, match="was moved or removed"):
        opened.identity.check()
    opened.close()


def test_a_link_that_leads_elsewhere_is_noticed(path: Path, tmp_path: Path) -> None:
    link = tmp_path / "current"
    link.symlink_to(path.parent)
    opened = Opened(path, given=link / "entries.db")
    opened.identity.check()
    (tmp_path / "next").mkdir()
    link.unlink()
    link.symlink_to(tmp_path / "next")
    with pytest.raises(StoreMoved, match=r"current/entries\.db was moved or removed"):
        opened.identity.check()
    opened.close()


def test_what_sqlite_does_to_its_files_is_no_change(path: Path) -> None:
    opened = Opened(path)
    second = Opened(path)
    third = opened.identity.connect()
    for _ in range(3):
        opened.db.executemany("insert into entry values(?)", [(n,) for n in range(2000)])
        opened.db.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
    second.close()
    opened.identity.close(third)
    opened.identity.check()
    opened.close()
    assert not beside(path, "-wal").exists()
    Opened(path).close()


def test_a_folder_that_may_not_be_searched_is_away_but_not_moved(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = Opened(path)
    with monkeypatch.context() as patched:
        patched.setattr(os, "stat", lambda *_: (_ for _ in ()).throw(PermissionError(13, "Permission denied")))
        with pytest.raises(StoreUnavailable, match="Permission denied") as caught:
            opened.identity.check()
        assert not isinstance(caught.value, StoreMoved)
        assert not opened.identity.is_moved()
    opened.identity.check()
    opened.close()


def test_closing_one_that_was_replaced_leaves_the_log_of_the_other(path: Path) -> None:
    opened = Opened(path)
    all_files(path, lambda each: each.rename(beside(each, ".old")))
    successor = Opened(path)
    opened.close()
    assert beside(path, "-wal").exists()
    successor.identity.check()
    assert successor.db.execute("select count(*) from entry").get == 1
    successor.close()
