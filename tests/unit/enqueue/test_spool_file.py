"""A spool file that is taken away: no answer says that it keeps a job, and the next message opens the new one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from outlast.core.errors import StoreMoved, StoreUnavailable
from outlast.enqueue.spool_file import SpoolFile


def row(n: int) -> tuple[str, str, bytes]:
    return (f"q.{n}", "q", b"body")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "spool.db"


def remove(path: Path) -> None:
    for each in path.parent.glob("spool.db*"):
        each.unlink()


def move(path: Path) -> None:
    path.rename(path.with_name("moved.db"))


@pytest.mark.parametrize("take_away", [remove, move, Path.unlink])
def test_it_is_noticed_once_and_the_next_message_is_kept(path: Path, take_away: Callable[[Path], None]) -> None:
    spool = SpoolFile(str(path))
    spool.add([row(1)], 10)
    take_away(path)
    with pytest.raises(StoreMoved, match=r"spool\.db was moved or removed"):
        spool.add([row(2)], 10)
    spool.add([row(3)], 10)
    assert [each.id for each in SpoolFile(str(path)).head(9)] == ["q.3"]
    spool.close()


def test_the_lock_of_the_relay_is_no_link(path: Path, tmp_path: Path) -> None:
    path.with_name("spool.db-relay").symlink_to(tmp_path / "victim")
    with pytest.raises(StoreUnavailable, match="is a symbolic link"), SpoolFile(str(path)).relaying():
        pass
    assert not (tmp_path / "victim").exists()
