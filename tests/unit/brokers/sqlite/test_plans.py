"""Query plans of the store's statements: with a million waiting jobs none may read more of them than it returns."""

from __future__ import annotations

import re
from pathlib import Path

import apsw
import pytest

from outlast.brokers.sqlite.statements import open_store, statements
from outlast.brokers.sqlite.tuning import Tuning

FOR_PEOPLE = {
    "lanes_unrated",
    "lanes_unweighed",
    "newest",
    "purge_queue",
    "stale_holders",
    "unfinished_kinds",
    "weights",
}
"""Statements that walk over jobs by their nature and that no job ever waits for."""
FEW_ROWS = {"file", "queue", "holder", "store", "lost", "schedule", "guard", "exchange", "binding", "total"}
"""Tables with a row for each queue, binding, process or declared kind."""


FOUND = {"front", "woken"}
"""Names of what another step has found."""


@pytest.fixture
def db(tmp_path: Path) -> apsw.Connection:
    """A fresh file."""
    return open_store(str(tmp_path / "jobs.db"), Tuning())


def plan(db: apsw.Connection, sql: str) -> list[str]:
    """Return SQLite's plan, a line a step."""
    values = [None] * max((int(number) for number in re.findall(r"\?(\d+)", sql)), default=0)
    return [row[3] for row in db.execute(f"explain query plan {sql}", values)]


@pytest.mark.parametrize("name", sorted(set(statements()) - FOR_PEOPLE - {"record"}))
def test_it_uses_an_index(db: apsw.Connection, name: str) -> None:
    for step in plan(db, statements()[name]):
        scanned = re.match(r"SCAN (\w+)", step)  # not "SCAN (subquery-1)", which is what another step has found
        if scanned and "VIRTUAL TABLE" not in step:
            assert scanned[1] in FEW_ROWS | FOUND | {"CONSTANT"}, step
    db.close()


@pytest.mark.parametrize(
    "name",
    [
        "pick",
        "hand_out",
        "read_out",
        "probe",
        "promote",
        "next_due",
        "finish_plain",
        "strip_next",
        "over",
        "lane_front",
        "lanes_front",
        "keyless_front",
        "ring_front",
    ],
)
def test_it_sorts_nothing(db: apsw.Connection, name: str) -> None:
    assert not [step for step in plan(db, statements()[name]) if "TEMP B-TREE" in step and "DISTINCT" not in step]
    db.close()


@pytest.mark.parametrize(
    ("name", "index"),
    [
        ("pick", "job_ready"),
        ("ready_count", "job_ready"),
        ("probe", "job_ready"),
        ("probe", "job_due"),
        ("promote", "job_due"),
        ("next_due", "job_due"),
        ("parked_probe", "job_parked"),
        ("unpark", "job_parked"),
        ("aside_count", "job_aside"),
        ("held_ready", "job_held"),
        ("held_cancelling", "job_held"),
        ("strip_next", "job_ended"),
        ("over", "job_ended"),
        ("by_id", "job_id"),
        ("uniq_holder", "job_uniq"),
        ("purge_key", "job_lane"),
        ("purge_key", "lane_key"),
        ("lane_depth", "job_lane"),
        ("lane_front", "job_lane"),
        ("lanes_front", "job_lane"),
        ("lanes_front", "lane_parked"),
        ("keyless_front", "job_ready"),
        ("ring_front", "job_lane"),
        ("ring_front", "lane_ring"),
        ("weights_of", "INTEGER PRIMARY KEY"),
        ("ring", "lane_ring"),
        ("ring", "job_lane"),
        ("heads", "job_lane"),
        ("lane_running", "job_lane"),
        ("lane_probe", "lane_ring"),
        ("lane_probe", "lane_parked"),
        ("lane_next", "lane_parked"),
        ("lanes_wake", "lane_parked"),
        ("lanes_unpark", "lane_parked"),
        ("lanes_find", "lane_key"),
        ("due_lanes", "job_due"),
        ("running_count", "job_held"),
        ("lanes_join", "INTEGER PRIMARY KEY"),
        ("lanes_moved", "INTEGER PRIMARY KEY"),
        ("lanes_turned", "INTEGER PRIMARY KEY"),
        ("lanes_gone", "INTEGER PRIMARY KEY"),
        ("settled_lanes", "INTEGER PRIMARY KEY"),
        ("lanes_forget", "INTEGER PRIMARY KEY"),
        ("lanes_forget", "job_lane"),
    ],
)
def test_it_uses_that_index(db: apsw.Connection, name: str, index: str) -> None:
    assert any(f"{index} (" in step for step in plan(db, statements()[name]))
    db.close()
