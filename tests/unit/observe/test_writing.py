"""What is written into a folder, and what is not overwritten there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from outlast.core.errors import ConfigurationError
from outlast.observe.rules import RULES
from outlast.observe.writing import texts, write

FILES = {"prometheus/a.yml": "a\n", "grafana/b.json": "{}\n"}


def read(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))
    return {path.relative_to(folder).as_posix(): path.read_text(encoding="utf-8") for path in files}


def test_all_files_are_written_into_a_new_folder(tmp_path: Path) -> None:
    done = write(tmp_path / "new" / "folder", FILES)
    assert (done.written, done.unchanged) == (list(FILES), [])
    assert read(tmp_path / "new" / "folder") == FILES


def test_what_is_there_already_is_left_alone(tmp_path: Path) -> None:
    write(tmp_path, FILES)
    before = (tmp_path / "prometheus" / "a.yml").stat().st_mtime_ns
    done = write(tmp_path, FILES)
    assert (done.written, done.unchanged) == ([], list(FILES))
    assert (tmp_path / "prometheus" / "a.yml").stat().st_mtime_ns == before


def test_a_new_release_replaces_what_nothing_has_changed(tmp_path: Path) -> None:
    write(tmp_path, FILES)
    new = {**FILES, "prometheus/a.yml": "newer\n"}
    assert write(tmp_path, new).written == ["prometheus/a.yml"]
    assert read(tmp_path) == new


def test_a_changed_file_stays_and_nothing_else_is_written(tmp_path: Path) -> None:
    write(tmp_path, FILES)
    (tmp_path / "prometheus" / "a.yml").write_text("mine\n", encoding="utf-8")
    with pytest.raises(ConfigurationError, match=r"a\.yml.*--force"):
        write(tmp_path, {"prometheus/a.yml": "newer\n", "grafana/b.json": "[]\n"})
    assert read(tmp_path) == {**FILES, "prometheus/a.yml": "mine\n"}
    assert write(tmp_path, FILES, force=True).written == ["prometheus/a.yml"]
    assert read(tmp_path) == FILES


def test_a_changed_file_stays_although_the_change_is_older_than_the_release(tmp_path: Path) -> None:
    """The digest of the last written file must not become that of the refused one."""
    write(tmp_path, FILES)
    (tmp_path / "prometheus" / "a.yml").write_text("mine\n", encoding="utf-8")
    for _ in range(2):
        with pytest.raises(ConfigurationError):
            write(tmp_path, {**FILES, "prometheus/a.yml": "newer\n"})


def test_a_file_of_another_origin_stays(tmp_path: Path) -> None:
    (tmp_path / "grafana").mkdir()
    (tmp_path / "grafana" / "b.json").write_text("[1]", encoding="utf-8")
    with pytest.raises(ConfigurationError, match=r"b\.json"):
        write(tmp_path, FILES)
    assert read(tmp_path) == {"grafana/b.json": "[1]"}


@pytest.mark.parametrize("notes", ["", "[]", "{", '{"prometheus/a.yml": 7}', "\x00\xff"])
def test_damaged_notes_count_as_none(tmp_path: Path, notes: str) -> None:
    write(tmp_path, FILES)
    (tmp_path / ".outlast-observe").write_text(notes, encoding="latin-1")
    with pytest.raises(ConfigurationError):
        write(tmp_path, {**FILES, "prometheus/a.yml": "newer\n"})
    assert write(tmp_path, FILES).written == []


def test_a_file_in_the_place_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match="Not a directory"):
        write(tmp_path / "file", FILES)


def test_nothing_is_left_of_a_write_that_failed(tmp_path: Path) -> None:
    (tmp_path / "prometheus" / "a.yml").mkdir(parents=True)
    with pytest.raises(ConfigurationError, match="directory"):
        write(tmp_path, FILES, force=True)
    assert read(tmp_path) == {}


def test_alerts_lead_to_the_dashboards_of_the_given_grafana() -> None:
    found = texts("https://grafana.example/x/")
    uids = {Path(name).stem: json.loads(text)["uid"] for name, text in found.items() if name.startswith("grafana/")}
    assert uids == {name: name for name in ("outlast-dependency", "outlast-overview", "outlast-queue")}
    linked = {line.split("/d/")[1].split("?")[0] for line in found[RULES].splitlines() if " dashboard: " in line}
    assert linked == set(uids)
    assert "https://grafana.example/x/d/outlast-queue?" in found[RULES]
    assert found.keys() == texts().keys()


NO_ADDRESSES = ["grafana", "ftp://grafana.example", "https://", "https://a/{{b}}", 'https://a/"', "https://a b", "x\n"]
NO_ADDRESSES += [
    "http://[::1",
    "https://user:secret@a",
    "https://a?x=1",
    "https://a#b",
    "https://a\\b",
    "https://a\x1b",
]


@pytest.mark.parametrize("url", NO_ADDRESSES)
def test_what_is_no_address_of_a_grafana_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError, match="--grafana"):
        texts(url)
