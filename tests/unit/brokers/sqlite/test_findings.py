"""Findings about an SQLite file, from plain values."""

from __future__ import annotations

from typing import Any

import pytest

from outlast.brokers.sqlite.findings import of_clock, of_disk, of_files, of_log, of_sockets
from tests.support.findings import only


@pytest.mark.parametrize(("free", "severity"), [(0, "error"), (300 << 20, "warning"), (2 << 30, "ok")])
def test_disk_space(free: int, severity: str) -> None:
    assert only([of_disk(free)]).severity == severity


@pytest.mark.parametrize(
    ("given", "severity", "said"),
    [
        ({"mode": 0o600}, "ok", "mode 600"),
        ({"mode": 0o660}, "ok", "mode 660"),
        ({"mode": 0o604}, "warning", "every user"),
        ({"writable": False}, "error", "may not write"),
        ({"foreign": ("x.db-wal", "x.db-shm")}, "error", "x.db-wal, x.db-shm belongs to another user"),
    ],
)
def test_permissions(given: dict[str, Any], severity: str, said: str) -> None:
    found = only(of_files(**{"mode": 0o600, "foreign": (), "writable": True, "path": "x.db", **given}))
    assert (found.severity, said in found.text) == (severity, True)


def test_the_log() -> None:
    assert only([of_log(4 << 20)]).severity == "ok"
    assert only([of_log(1 << 30)]).severity == "warning"


def test_the_folder_of_the_sockets() -> None:
    assert only([of_sockets("")]).severity == "ok"
    found = only([of_sockets("/tmp/x belongs to user 7")])
    assert (found.severity, "belongs to user 7: it is not used" in found.text) == ("warning", True)


def test_a_clock_that_went_back() -> None:
    assert only([of_clock(None, 100.0)]).severity == "ok"
    assert only([of_clock(104.0, 100.0)]).severity == "ok"
    assert only([of_clock(3700.0, 100.0)]).text == "a job was accepted 1 h in the future"
