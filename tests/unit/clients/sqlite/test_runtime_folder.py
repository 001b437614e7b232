"""A folder of sockets that another user could change is not used, and nothing is made through a link."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from outlast.clients.sqlite.process_notifier import NotificationListener, ProcessNotifier
from outlast.clients.sqlite.runtime_folder import make_folder, refusal_of, runtime_folder, usable
from outlast.clients.sqlite.writer_queue import POSITIONS, WriterQueue

OTHER = 65534


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a file whose own name is too long, in a temporary folder of its own; it does not exist."""
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    return runtime_folder(f"/srv/{'x' * 90}/jobs.db")


@pytest.fixture
def shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder beside a file; it does not exist."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Path, "absolute", lambda self: self)  # the folders of tests have long names
    return runtime_folder("jobs.db")


def test_it_is_made_for_this_user_alone(folder: Path) -> None:
    before = os.umask(0o002)
    try:
        assert make_folder(folder)
    finally:
        os.umask(before)
    assert [each.stat().st_mode & 0o777 for each in (folder.parent, folder)] == [0o700, 0o700]
    assert usable(folder)


def test_one_that_does_not_exist_is_not_used(folder: Path) -> None:
    assert not usable(folder)
    assert refusal_of(folder) == ""


def test_what_an_earlier_version_made_is_used(folder: Path) -> None:
    folder.mkdir(mode=0o700, parents=True)
    folder.parent.chmod(0o755)
    assert usable(folder)
    assert folder.parent.stat().st_mode & 0o777 == 0o700


def link(path: Path) -> None:
    target = path.with_name("target")
    path.rename(target)
    path.symlink_to(target)


def file(path: Path) -> None:
    shutil.rmtree(path)
    path.touch()


def foreign(path: Path) -> None:
    os.chown(path, OTHER, OTHER)


WRONG: dict[str, tuple[Callable[[Path], None], str]] = {
    "open to all": (lambda path: path.chmod(0o777), "other users may write to .*mode 0777"),
    "open to all, sticky": (lambda path: path.chmod(0o1777), "other users may write to .*mode 1777"),
    "open to its group": (lambda path: path.chmod(0o770), "other users may write to .*mode 0770"),
    "a link": (link, "is a symbolic link"),
    "a file": (file, "is no folder"),
}
if os.geteuid() == 0:  # only root can give a folder away
    WRONG["of another user"] = (foreign, f"belongs to user {OTHER}")


LOCKS = ["announced", *(f"{line}-{number}" for line in ("line", "urgent") for number in range(POSITIONS))]
"""The files whose locks order the writers."""


def open_locks(queue: WriterQueue) -> None:
    """Open all of them, as a process that waits does."""
    for line in (queue._others, queue._urgent):
        line._open_all()
    queue._announcement.make()


@pytest.mark.parametrize("level", ["parent", "folder"])
@pytest.mark.parametrize("what", WRONG)
async def test_one_that_others_can_change_is_not_used(
    folder: Path, what: str, level: str, caplog: pytest.LogCaptureFixture
) -> None:
    spoil, why = WRONG[what]
    folder.mkdir(mode=0o700, parents=True)
    folder.parent.chmod(0o700)
    for name in LOCKS:
        (folder / name).symlink_to(folder.parents[2] / f"victim-{name}")
    spoil(folder.parent if level == "parent" else folder)
    processes = ProcessNotifier(f"/srv/{'x' * 90}/jobs.db")
    assert processes.folder == folder
    assert re.search(why, refusal_of(folder))
    listener, queue = NotificationListener(processes, "work", lambda: None), WriterQueue(folder)
    for _ in range(2):
        listener.open()
        open_locks(queue)
        processes.notify("work")
    for each in (listener, queue, processes):
        each.close()
    assert list(folder.parents[2].glob("victim-*")) == []
    if what != "a file":
        assert re.search(why, "".join(caplog.messages))
        assert len(caplog.messages) == 1, "one line"


def test_a_temporary_folder_in_which_all_may_rename_is_not_used(folder: Path) -> None:
    folder.parents[1].chmod(0o777)
    assert "no sticky bit" in refusal_of(folder)
    assert not make_folder(folder)
    assert list(folder.parents[1].iterdir()) == [folder.parent]
    folder.parents[1].chmod(0o1777)
    assert make_folder(folder)


def test_the_folder_beside_a_file_may_be_of_those_who_use_the_file(shared: Path) -> None:
    assert shared == Path("jobs.db-bell")
    assert make_folder(shared)
    shared.chmod(0o770)
    assert usable(shared)
    shared.chmod(0o777)
    assert "other users may write" in refusal_of(shared)
    shared.chmod(0o700)
    if os.geteuid() == 0:
        os.chown(shared, OTHER, OTHER)
        assert f"belongs to user {OTHER}" in refusal_of(shared)
        Path("jobs.db").touch()
        os.chown("jobs.db", OTHER, OTHER)
        assert refusal_of(shared) == ""
    shared.rmdir()
    shared.symlink_to("elsewhere")
    assert "is a symbolic link" in refusal_of(shared)


def test_a_lock_that_is_a_link_is_not_followed(shared: Path, tmp_path: Path) -> None:
    make_folder(shared)
    for name in LOCKS:
        (shared / name).symlink_to(tmp_path / "victim")
    queue = WriterQueue(shared)
    open_locks(queue)
    queue.close()
    assert not (tmp_path / "victim").exists()
