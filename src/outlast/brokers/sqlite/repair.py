"""Finds rows with values that no code of Outlast writes, and repairs them, so that they stop nothing but themselves.

The other code trusts the types of the columns. When an operation fails on a value, the store runs `repair` and then the
operation again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any, Final

import apsw
import msgspec

from outlast.brokers.sqlite import limits
from outlast.brokers.sqlite.totals import move_totals
from outlast.brokers.sqlite.transaction import Transaction, json_of
from outlast.brokers.sqlite.unreadable import fetch
from outlast.core.bounds import LAST_MOMENT
from outlast.core.ids import queue_of
from outlast.core.topology import adjusted
from outlast.core.unreadable import READ_ERRORS, UNREADABLE, unreadable

__all__ = ["damaged_jobs", "jobs_damaged", "keys_damaged", "repair"]

logger = logging.getLogger("outlast.sqlite")

_INT: Final = "typeof({0}) = 'integer'"
_BIT: Final = "typeof({0}) = 'integer' and {0} in (0, 1)"
_TIME: Final = f"typeof({{0}}) in ('integer', 'real') and abs({{0}}) <= {LAST_MOMENT!r}"
_NUMBER: Final = "typeof({0}) in ('integer', 'real') and abs({0}) < 9e18"
_TEXT: Final = "typeof({0}) = 'text'"
_STATES: Final = "typeof({0}) = 'integer' and {0} in (0, 1, 2, 3, 4, 10, 11, 12, 13)"


def _or_null(test: str) -> str:
    return f"{{0}} is null or {test}"


# By column: what a value must be, and the SQL of the value that takes the place of another one; None: it stays.
_JOB: Final[dict[str, tuple[str, str | None]]] = {
    "id": (_TEXT, None),
    "queue": ("{0} in (select queue from queue)", "coalesce((select queue.queue from queue where queue.name = "
              "substr(job.id, 1, instr(job.id, '.') - 1)), (select min(queue) from queue))"),
    "state": (_STATES, "11"),
    "rank": (_INT, "0"),
    "at": (_or_null(_NUMBER), "null"),
    "kind": (_TEXT, None),
    "token": (_INT, "0"),
    "holder": (_or_null(_INT), "null"),
    "attempt": (f"{_INT} and {{0}} between 1 and 1048575", "1"),
    "crashes": (f"{_INT} and {{0}} between 0 and 65535", "0"),
    "cancelling": (_BIT, "0"),
    "failed": (_INT, "1"),
    "enqueued_at": (_TIME, "0"),
    "run_at": (_TIME, "0"),
    "expires_at": (_or_null(_TIME), "null"),
    "finished_at": (_or_null(_TIME), "null"),
    "priority": (f"{_INT} and {{0}} in (0, 1, 2)", "1"),
    "lane": ("{0} is null or {0} in (select lane from lane)", "null"),
    "uniq": (_or_null(_TEXT), "null"),
    "uniq_until": (_or_null(_NUMBER), "null"),
    "until_start": (_or_null(_INT), "null"),
    "reason": (_or_null(_TEXT), "null"),
    "meta": (_or_null(_TEXT), None),
    "result": (_or_null(_TEXT), "null"),
    "body": (_or_null(_TEXT), None),
    "begun": (_BIT, "0"),
}  # fmt: skip
_QUEUE: Final[dict[str, tuple[str, str]]] = {
    "app": (_TEXT, "''"),
    "paused": (_BIT, "1"),
    "max_depth": (_or_null(_INT), "null"),
    "record_ttl": (_NUMBER, "86400"),
    "records_kept": (_INT, "10000"),
    "results_kept": (_or_null(_INT), "null"),
    "dead_ttl": (_NUMBER, "2592000"),
    "id_memory": (_NUMBER, "86400"),
    "depth": (_INT, "0"),
    "records": (_INT, "0"),
    "dead": (_INT, "0"),
    "drained": (_NUMBER, "0"),
    "drained_at": (_NUMBER, "0"),
    "pruned": (_NUMBER, "0"),
    "uniques": (_BIT, "1"),
    "limits": (_or_null(_TEXT), "null"),
    "declared": (_or_null(_TEXT), "null"),
    "changes": (_or_null(_TEXT), "null"),
    "samples": (_or_null(_TEXT), "null"),
    "bytes": (_or_null(_INT), "null"),
    "shed": (_INT, "0"),
    "back": (
        _INT,
        "1 + coalesce((select max(turn) from lane where lane.queue = queue.queue and typeof(turn) = 'integer'), 0)",
    ),
    "turn": (_INT, "0"),
    "tat": (_INT, "0"),
}
_LANE: Final[dict[str, tuple[str, str]]] = {
    "queue": (_INT, "-1"),
    "key": (_TEXT, "'unreadable key ' || lane"),
    "place": (f"{_INT} and {{0}} between 0 and 3", "1"),
    "turn": (f"{_INT} and {{0}} >= 0", "0"),
    "given": (_INT, "0"),
    "wake": (_INT, "0"),
    "tat": (_INT, "0"),
    "bytes": (_INT, "0"),
}
_HOLDER: Final[dict[str, tuple[str, str]]] = {
    "id": (_TEXT, "'unreadable holder ' || holder"),
    "label": (_TEXT, "''"),
    "boot": (_TEXT, "''"),
    "lease": (_NUMBER, "0"),
    "lapsed": (_BIT, "0"),
    "queues": (_TEXT, "'[]'"),
    "loads": (_or_null(_TEXT), "null"),
}
_BAD_KEYS: Final = "select exists(select 1 from lane where lane > ? and lane <= ? and ({}))".format(  # noqa: S608
    " or ".join(f"not ({test.format(name)})" for name, (test, _) in _LANE.items())
)
_BAD_JOB: Final = " or ".join(f"not ({test.format(name)})" for name, (test, _) in _JOB.items())

_UNFINISHED: Final = f"iif({_STATES.format('state')}, state < 10, finished_at is null and body is not null)"
"""Of a job whose state is damaged, the time of its end tells whether it has ended."""
_ENDS: Final = f"select json_group_array(seq) from job where {_UNFINISHED} and seq in (select value from json_each(?))"  # noqa: S608
_ENDED: Final = "select queue, cast(kind as blob) from job where seq in (select value from json_each(?))"
_BAD_JOBS: Final = f"select exists(select 1 from job where seq > ? and seq <= ? and ({_BAD_JOB}))"  # noqa: S608


def damaged_jobs(db: apsw.Connection, most: int) -> list[str]:
    """Return the ids of at most `most` jobs with values of wrong types; this reads every job."""
    rows = fetch(db, ("id",), f"from job where {_BAD_JOB} limit ?", (most,))
    return [id_ if isinstance(id_, str) else repr(id_) for (id_,) in rows]


def jobs_damaged(db: apsw.Connection, after: int, upto: int) -> bool:
    """Return whether a job with a row number above `after` and up to `upto` has a value of a wrong type."""
    return bool(db.execute(_BAD_JOBS, (after, upto)).get)


def keys_damaged(db: apsw.Connection, after: int, upto: int) -> bool:
    """Return whether a key with a row number above `after` and up to `upto` has a value of a wrong type."""
    return bool(db.execute(_BAD_KEYS, (after, upto)).get)


def repair(tx: Transaction) -> int:
    """Repair the rows of the file; return how many. A job that cannot run as it was accepted ends as dead.

    Arguments, and headers and marks (`meta`), are kept as they were found.
    """
    told = [*_queues(tx), *_texts(tx, "lane", "key", _LANE), *_texts(tx, "holder", "id", _HOLDER), *_jobs(tx)]
    if told:
        tx.changes.update(("work", "ended"))
        for text in told:
            logger.error("%s", text)
    return len(told)


def _jobs(tx: Transaction) -> Iterator[str]:
    rows = fetch(tx.db, ("seq", "id", "state"), f"from job where {_BAD_JOB}", ())
    if not rows:
        return
    seqs = json_of([seq for seq, _, _ in rows])
    failure = json_of(unreadable(TypeError("a value of a wrong type"), at=tx.now))
    tx.db.execute("insert into failure(job, body) select value, ? from json_each(?)", (failure, seqs))
    ends = tx.db.execute(_ENDS, (seqs,)).get
    sets = ", ".join(f"{name} = iif({test.format(name)}, {name}, {new})" for name, (test, new) in _JOB.items() if new)
    tx.db.execute(f"update job set {sets} where seq in (select value from json_each(?))", (seqs,))  # noqa: S608
    tx.db.execute(
        "update job set state = 11, reason = ?, finished_at = ?, cancelling = 0, token = 0, holder = null, failed = 1, "
        "body = coalesce(body, ''), at = ? + (select dead_ttl from queue where queue.queue = job.queue), "
        "uniq = case when uniq_until is not null then uniq end "
        "where seq in (select value from json_each(?)) and (body is not null or state < 10)",
        (UNREADABLE, tx.now, tx.now, seqs),
    )
    ended: list[Any] = tx.db.execute(_ENDED, (ends,)).fetchall()
    for queue, kind in ended:
        tx.end(queue, kind, "dead")
    _recount(tx)
    for _, id_, _ in rows:
        yield f"job {id_!r} has values of wrong types and is dead ({UNREADABLE}); its arguments are kept"


def _recount(tx: Transaction) -> None:
    """Count the jobs of every queue again; forget what this transaction has read and counted, except ends."""
    tx.write_ends()
    tx.db.execute(
        "update queue set depth = (select count(*) from job where job.queue = queue.queue and state < 10), "
        "dead = (select count(*) from job where job.queue = queue.queue and state = 11 and body is not null), "
        "records = (select count(*) from job where job.queue = queue.queue and state in (10, 12, 13) "
        "and body is not null and result is null), bytes = iif(bytes is null, null, "
        "(select coalesce(sum(octet_length(body)), 0) from job where job.queue = queue.queue and state < 10)), "
        "pruned = 0"
    )
    tx.begin()


def _queues(tx: Transaction) -> Iterator[str]:
    """Repair the rows of queues."""
    wrong: dict[int, list[str]] = {}
    for number, *values in fetch(tx.db, ("queue", *_READ), "from queue", ()):
        kept: dict[str, Any] = dict(zip(_READ, values, strict=True))
        found = wrong.setdefault(number, [])
        found += [column for column, read in _READ.items() if not _reads(read, kept[column])]
        found += [
            column
            for column, (test, _) in _QUEUE.items()
            if column not in found and tx.db.execute(_WRONG_QUEUE.format(test.format(column)), (number,)).get
        ]
        for column in found:
            kept[column] = None
            if column != "name":
                tx.db.execute(_SET_QUEUE.format(column, _QUEUE[column][1]), (number,))
        if "limits" in found:
            if "declared" in found or "changes" in found:
                tx.db.execute(_SET_QUEUE.format("paused", "1"), (number,))  # without its limits it could run too much
            else:
                queue = adjusted(limits.rules("q", kept["declared"]), limits.changes_of(kept["changes"]))
                tx.db.execute("update queue set limits = ? where queue = ?", (limits.text_of(queue), number))
        if "name" in found:
            _rename(tx, number)
        if found:
            _recount(tx)
            ((name, paused),) = fetch(tx.db, ("name", "paused"), "from queue where queue = ?", (number,))
            fix = f"; it is paused: set its limits, then `outlast queues resume {name}`" if paused else ""
            yield f"queue {name!r}: {', '.join(found)} could not be read and was replaced{fix}"


def _rename(tx: Transaction, number: int) -> None:
    """Name a queue as its jobs do; its jobs go to the queue that has this name by now, if there is one."""
    named = "select substr(id, 1, instr(id, '.') - 1) from job where queue = ? and typeof(id) = 'text' limit 1"
    name = tx.db.execute(named, (number,)).get
    other = tx.db.execute("select queue from queue where name = ?", (name,)).get
    if not _reads(_name, name) or other is not None:
        if other is not None:
            tx.db.execute("update job set queue = ?, lane = null where queue = ?", (other, number))
            move_totals(tx, number, other)
        name = f"unreadable-{number}"
    tx.db.execute("update queue set name = ? where queue = ?", (name, number))


def _name(value: Any) -> None:
    if not isinstance(value, str) or queue_of(f"{value}.x") != value:
        raise ValueError("no name of a queue")


def _text(value: Any) -> None:
    if not isinstance(value, str):
        raise TypeError("no text")


_READ: Final[dict[str, Callable[[Any], object]]] = {
    "name": _name,
    "app": _text,
    "limits": lambda text: limits.rules("q", text),
    "declared": lambda text: limits.rules("q", text),
    "changes": limits.changes_of,
    "samples": lambda text: _text("" if text is None else text),
}
_WRONG_QUEUE: Final = "select 1 from queue where queue = ? and not ({})"
_SET_QUEUE: Final = "update queue set {} = {} where queue = ?"


def _reads(read: Callable[[Any], object], value: Any) -> bool:
    try:
        read(value)
    except READ_ERRORS:
        return False
    return True


def _texts(tx: Transaction, table: str, name: str, columns: dict[str, tuple[str, str]]) -> Iterator[str]:
    """Repair the rows of keys or of holders; a text in them may not be UTF-8, and `queues` of a holder no JSON."""
    wrong: dict[int, list[str]] = {}
    texts = {column: test for column, (test, _) in columns.items() if test in (_TEXT, _or_null(_TEXT))}
    for number, *values in fetch(tx.db, (table, *texts), f"from {table}", ()):
        for column, value in zip(texts, values, strict=True):
            is_text = isinstance(value, str) or (value is None and texts[column] != _TEXT)
            if not is_text or (column == "queues" and not _reads(_names, value)):
                wrong.setdefault(number, []).append(column)
    for column, (test, _) in columns.items():
        found_in = f"select {table} from {table} where not ({test.format(column)})"  # noqa: S608
        rows: list[Any] = tx.db.execute(found_in).fetchall()
        for (number,) in rows:
            if column not in wrong.setdefault(number, []):
                wrong[number].append(column)
    for number, found in wrong.items():
        sets = ", ".join(f"{column} = {columns[column][1]}" for column in found)
        tx.db.execute(f"update {table} set {sets} where {table} = ?", (number,))  # noqa: S608
        yield f"{'key' if table == 'lane' else table} {number}: {', '.join(found)} could not be read and was replaced"


def _names(text: Any) -> None:
    msgspec.json.decode(text, type=list[str])
