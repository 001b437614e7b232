"""Reads rows that a plain read cannot decode, value by value, and sets jobs aside that cannot be read at all."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from traceback import clear_frames
from typing import Any

import apsw

from outlast.brokers.sqlite.bounds import weigh_job
from outlast.brokers.sqlite.key_states import freed
from outlast.brokers.sqlite.statements import statements
from outlast.brokers.sqlite.totals import end_of
from outlast.brokers.sqlite.transaction import Transaction, json_of
from outlast.core.message import Failure
from outlast.core.unreadable import READ_ERRORS, UNREADABLE, unreadable

__all__ = ["close_cursors", "failures", "fetch", "fetch_named", "set_aside"]

logger = logging.getLogger("outlast.sqlite")


def fetch(db: apsw.Connection, columns: Sequence[str], source: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
    """Return the rows of "select `columns` `source`". A value that is not text in a column of text is bytes.

    One text that is not UTF-8 fails a plain read as a whole: then all rows are read again, with their texts as bytes.
    """
    try:
        return db.execute(f"select {', '.join(columns)} {source}", values).fetchall()
    except UnicodeDecodeError:
        marked = [
            f"case typeof({each}) when 'text' then cast('t' || {each} as blob) when 'blob' then x'62' else {each} end"
            for each in columns
        ]
        return [tuple(map(_unmarked, row)) for row in db.execute(f"select {', '.join(marked)} {source}", values)]


def fetch_named(db: apsw.Connection, name: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
    """Return the rows of a named statement of plain columns, as `fetch` does."""
    columns, _, source = statements()[name].removeprefix("select ").partition(" from ")
    return fetch(db, columns.split(", "), f"from {source}", values)


def _unmarked(value: Any) -> Any:
    """Return the text after its mark, bytes if it is not UTF-8 or no text; return any other value as it is."""
    if not isinstance(value, bytes) or not value.startswith(b"t"):
        return value
    try:
        return value[1:].decode()
    except UnicodeDecodeError:
        return value[1:]


def close_cursors(error: BaseException) -> None:
    """Close the cursors of the calls that raised an error: an open one goes on to see the file as it was then."""
    clear_frames(error.__traceback__)


def failures(rows: Iterable[tuple[Any]], decode: Callable[[Any], Failure]) -> list[Failure]:
    """Return failures by their stored rows; one that cannot be read is told in its place."""
    found: list[Failure] = []
    for (text,) in rows:
        try:
            found.append(decode(text))
        except READ_ERRORS as error:
            found.append(unreadable(error, what="a failure"))
    return found


def set_aside(tx: Transaction, seq: int, name: str, error: Exception) -> None:
    """End a job of queue `name` that was just handed out as dead ("unreadable"); its content stays as it is."""
    queue = tx.queue(name)
    tx.run("failure_add", (seq, json_of(unreadable(error, at=tx.now))))
    weigh_job(tx, queue, seq, -1)
    end_of(tx, queue, seq, "dead")
    tx.run("set_aside", (tx.now + queue.dead_ttl, tx.now, UNREADABLE, seq))
    counts = tx.count(queue.number)
    counts.depth -= 1
    counts.dead += 1
    tx.changes.add("ended")
    if (key_row := tx.one("lane_of", (seq,))) is not None:
        freed(tx, queue, (key_row,))
    (shown,) = fetch(tx.db, ("id",), " from job where seq = ?", (seq,))[0]
    logger.error("job %s cannot be read, and is dead (%s): outlast jobs show it: %s", shown, UNREADABLE, error)
