"""Look at an SQLite store's files from outside, damage them, and keep them locked, as another program would."""

from __future__ import annotations

import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import apsw

__all__ = ["commits", "damage_page", "locked", "log_pages", "look", "traces"]

_HOLD = """
import sys, apsw
db = apsw.Connection(sys.argv[1])
db.execute(sys.argv[2]).fetchall()
print("held", flush=True)
sys.stdin.readline()
"""

_COUNT = """
import sys
from pathlib import Path
what, *paths = sys.argv[1:]
print(sum(Path(path).read_bytes().count(what.encode()) for path in paths if Path(path).is_file()))
"""


def traces(path: Path, what: str) -> int:
    """Return how often the bytes of the file and its log have `what`, as the disk would be read.

    Another process reads: a close of the file in this one would drop SQLite's locks (fcntl(2)).
    """
    command = [sys.executable, "-c", _COUNT, what, str(path), f"{path}-wal"]
    return int(subprocess.run(command, capture_output=True, check=True, text=True).stdout)


def look(path: Path, sql: str) -> list[tuple[object, ...]]:
    """Return the rows of a query on a connection of its own."""
    db = apsw.Connection(str(path))
    try:
        return db.execute(sql).fetchall()
    finally:
        db.close()


def damage_page(path: Path, table: str, leaf: int) -> None:
    """Overwrite one page of a table that holds rows; no process has the file open."""
    db = apsw.Connection(str(path))
    found = db.execute("select pageno from dbstat where name = ? and pagetype = 'leaf' order by 1", (table,))
    page = [int(str(number)) for (number,) in found][leaf]
    db.pragma("wal_checkpoint(truncate)")
    size = int(str(db.pragma("page_size")))
    db.close()
    with path.open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(b"\xa5" * size)


def _frames(path: Path) -> Iterator[int]:
    """Yield, for each frame of the log's present round, the file's size that a commit gives, 0 for others.

    The format: https://sqlite.org/fileformat2.html#walformat
    """
    log = path.with_name(path.name + "-wal")
    data = log.read_bytes() if log.exists() else b""
    if len(data) < 32:
        return
    size, salt = struct.unpack(">I", data[8:12])[0], data[16:24]
    for at in range(32, len(data) - size - 23, size + 24):
        if data[at + 8 : at + 16] != salt:
            return
        yield struct.unpack(">I", data[at + 4 : at + 8])[0]


def commits(path: Path) -> int:
    """Count the transactions in the log since its last restart."""
    return sum(1 for size in _frames(path) if size)


def log_pages(path: Path) -> int:
    """Count the pages in the log since its last restart."""
    return sum(1 for _ in _frames(path))


@contextmanager
def locked(path: Path, sql: str = "begin immediate") -> Iterator[subprocess.Popen[str]]:
    """Have another process run `sql` on the file and keep its connection open within the block."""
    process = subprocess.Popen(
        [sys.executable, "-c", _HOLD, str(path), sql], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
    finally:
        process.communicate("\n")
