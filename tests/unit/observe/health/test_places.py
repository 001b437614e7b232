"""Where the sockets are: in folders that no other user can write into."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from outlast.observe.health import places


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    found = tmp_path / "own"
    monkeypatch.setattr(places, "folders", lambda: (str(found), str(tmp_path / "absent")))
    return found


def test_the_folder_of_temporary_files_is_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", "/var/tmp")
    assert places.folders() == (f"/var/tmp/outlast-health-{os.getuid()}", f"/dev/shm/outlast-health-{os.getuid()}")


def test_a_folder_is_made_for_one_user(folder: Path) -> None:
    assert places.made_folder(str(folder))
    assert folder.stat().st_mode & 0o777 == 0o700
    assert places.made_folder(str(folder)), "it is used again"


@pytest.mark.parametrize("spoiled", ["a link", "writable", "a file"])
def test_a_folder_that_another_user_may_have_made_is_not_used(spoiled: str, folder: Path, tmp_path: Path) -> None:
    if spoiled == "a link":
        (tmp_path / "other").mkdir(mode=0o700)
        folder.symlink_to(tmp_path / "other")
    elif spoiled == "writable":
        folder.mkdir()
        folder.chmod(0o770)
    else:
        folder.touch()
    (tmp_path / "other").mkdir(exist_ok=True)
    assert not places.made_folder(str(folder))
    assert places.found_sockets() == []


def test_only_sockets_are_found(folder: Path) -> None:
    folder.mkdir(mode=0o700)
    name = places.name_of(12, "ab")
    for each in (name, f"{name}.new", "other"):
        (folder / each).touch()
    assert places.found_sockets() == [f"{folder}/{name}"]
