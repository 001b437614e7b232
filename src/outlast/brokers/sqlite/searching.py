"""Finds and counts jobs in short reads, on a connection that never writes."""

from __future__ import annotations

from itertools import product
from typing import Any, Final

import apsw
from msgspec import structs

from outlast.brokers.sqlite.records import COLUMNS, FROM, Row, record
from outlast.brokers.sqlite.statements import state_at
from outlast.brokers.sqlite.transaction import STATE_NUMBER, STATES
from outlast.brokers.sqlite.unreadable import fetch
from outlast.core.matching import WIDEST, ArgIs, JsonScalar
from outlast.core.message import State
from outlast.core.store.records import Page, Query

__all__ = ["Search", "CountSearch"]

WINDOW: Final = 20_000
"""The most rows of one read. A read must be short: the write-ahead log cannot restart during it."""
_INDEX: Final = {"running": "indexed by job_held", "waiting": "indexed by job_aside", "dead": "indexed by job_dead"}
"""States with few rows among many: read from their own index, not by a scan of all jobs."""


_CONDITIONS: Final = {
    "queue": "queue.name = ?",
    "kind": "? in (job.kind, substr(job.kind, 1, instr(job.kind || '@', '@') - 1))",
    "key": "job.lane in (select lane from lane where key = ?)",
    "reason": "case when job.state < 10 and {now} = 13 then 'expired' else job.reason end = ?",
}


class _SearchSteps:
    """The reads of a query: one for each state with an index of its own, and a scan in windows for the other states."""

    def __init__(self, query: Query, now: float) -> None:
        self._now = now
        self._common, self._values = _conditions(query, now)
        self._indexed = [state for state in dict.fromkeys(query.states) if state in _INDEX]
        rest = [str(STATE_NUMBER[state]) for state in dict.fromkeys(query.states) if state not in _INDEX]
        self._scans = bool(rest) or not query.states
        self._rest = f" and {state_at(now)} in ({', '.join(rest)})" if rest else ""
        self._whole = query.key is not None
        """The key's index leads to few rows: one window for all."""
        self._floor = -1
        self._below = -1
        self._first = int(query.cursor) if query.cursor is not None else None

    def indexed(self) -> list[tuple[str, list[Any]]]:
        """Return the SQL after `select ...`, and its values, of each read from an index."""
        below, values = ("", []) if self._first is None else (" and job.seq < ?", [self._first])
        return [
            (
                f"{FROM.format(index=_INDEX[state])} and job.state = {STATE_NUMBER[state]}{self._common}{below}",
                self._values + values,
            )
            for state in self._indexed
        ]

    def window(self, db: apsw.Connection) -> tuple[str, list[Any]] | None:
        """Return the next window of the scan, newest rows first; None after the last one."""
        if not self._scans:
            return None
        if self._below < 0:
            rows: list[Any] = db.execute("select coalesce(min(seq), 0), coalesce(max(seq), 0) from job").fetchall()
            self._floor = rows[0][0]
            self._below = rows[0][1] + 1 if self._first is None else self._first
        if self._below <= self._floor:
            return None
        lower = self._floor if self._whole else max(self._floor, self._below - WINDOW)
        values = [*self._values, self._below, lower]
        self._below = lower
        return f"{FROM.format(index='')}{self._rest}{self._common} and job.seq < ? and job.seq >= ?", values


class Search:
    """Finds one page. Call `step` until it returns the page."""

    def __init__(self, query: Query, now: float) -> None:
        self._limit = max(1, min(query.limit, 1000))
        self._now = now
        self._steps = _SearchSteps(query, now)
        self._indexed: list[Row] | None = None
        self._scanned: list[Row] = []

    def step(self, db: apsw.Connection) -> Page | None:
        """Read the next rows."""
        if self._indexed is None:
            self._indexed = []
            for source, values in self._steps.indexed():
                self._indexed += self._rows(db, source, values, self._limit + 1)
        window = self._steps.window(db)
        if window is not None:
            self._scanned += self._rows(db, *window, self._limit + 1 - len(self._scanned))
            if len(self._scanned) <= self._limit:
                return None
        rows = sorted([*self._indexed, *self._scanned], key=lambda row: -row[0])
        page = rows[: self._limit]
        return Page([record(db, row, self._now) for row in page], str(page[-1][0]) if len(rows) > len(page) else None)

    @staticmethod
    def _rows(db: apsw.Connection, source: str, values: list[Any], most: int) -> list[Row]:
        return fetch(db, COLUMNS, f"{source} order by job.seq desc limit ?", [*values, most])


class CountSearch:
    """Counts jobs by state. Call `step` until it returns the counts; states without jobs are left out."""

    def __init__(self, query: Query, now: float) -> None:
        self._now = now
        self._steps = _SearchSteps(structs.replace(query, cursor=None), now)
        self._indexed = self._steps.indexed()
        self._counts: dict[State, int] = {}

    def step(self, db: apsw.Connection) -> dict[State, int] | None:
        """Count the next rows."""
        while self._indexed:
            self._add(db, *self._indexed.pop(0))
        window = self._steps.window(db)
        if window is None:
            return self._counts
        self._add(db, *window)
        return None

    def _add(self, db: apsw.Connection, source: str, values: list[Any]) -> None:
        for code, number in db.execute(f"select {state_at(self._now)}, count(*){source} group by 1", values):
            state = STATES.get(code, "dead")  # as the record of a job in no known state shows it
            self._counts[state] = self._counts.get(state, 0) + number


def _conditions(query: Query, now: float) -> tuple[str, list[Any]]:
    """Return the conditions of a query, except its states, as SQL and its values."""
    sql = ""
    values: list[Any] = []
    for condition, value in (
        (_CONDITIONS["queue"], query.queue),
        (_CONDITIONS["kind"], query.kind),
        (_CONDITIONS["key"], query.key),
        (_CONDITIONS["reason"].format(now=state_at(now)), query.reason),
        ("job.enqueued_at < ?", query.accepted_before),
        ("job.enqueued_at >= ?", query.accepted_after),
    ):
        if value is not None:
            sql += f" and {condition}"
            values.append(value)
    for wanted in query.args:
        condition, more = _argument(wanted)
        sql += f" and {condition}"
        values += more
    for each in query.without:
        if isinstance(each.value, ArgIs):
            condition, more = _argument(each.value)
        else:
            condition, more = _CONDITIONS[each.field].format(now=state_at(now)), [each.value]
        sql += f" and not coalesce(({condition}), 0)"  # null: the job has no such field
        values += more
    return sql, values


def _argument(wanted: ArgIs) -> tuple[str, list[Any]]:
    """Return the SQL of core.matching.holds."""
    tests: list[str] = []
    values: list[Any] = [wanted.path[0]]
    for path in _paths(wanted.path):
        for value in wanted.values:
            test, more = _equals(path, value)
            tests.append(test)
            values += more
    hidden = "exists(select 1 from json_each(iif(json_valid(job.meta), job.meta, null), '$.redacted') where value = ?)"
    return f"not {hidden} and case when json_valid(job.body) then {' or '.join(tests)} end", values


def _paths(names: tuple[str, ...]) -> list[str]:
    """Return the JSON paths that the names may mean: digits, except as the first name, are a key or an index."""
    options = [
        [f'."{name}"', f"[{int(name)}]"] if at and name.isdecimal() and name.isascii() else [f'."{name}"']
        for at, name in enumerate(names)
    ]
    return ["$" + "".join(path) for path in product(*options)]


def _equals(path: str, value: JsonScalar) -> tuple[str, list[Any]]:
    if value is None or isinstance(value, bool):
        return "json_type(job.body, ?) = ?", [path, "null" if value is None else str(value).lower()]
    if isinstance(value, str):
        return "json_type(job.body, ?) = 'text' and json_extract(job.body, ?) = ?", [path, path, value]
    number = float(value) if abs(value) >= WIDEST else value
    return "json_type(job.body, ?) in ('integer', 'real') and json_extract(job.body, ?) = ?", [path, path, number]
