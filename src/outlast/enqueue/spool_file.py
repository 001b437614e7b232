"""Keeps messages in a file, in order, while their store is unreachable, and removes them once the store has them."""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from outlast.clients.sqlite.connection import immediate, open_file
from outlast.clients.sqlite.errors import translated
from outlast.clients.sqlite.file_identity import FileIdentity
from outlast.clients.sqlite.file_system import durability_of
from outlast.core.durability import Durability
from outlast.core.errors import StoreCorrupt, StoreFull

if TYPE_CHECKING:
    import apsw

__all__ = ["SpoolFile", "SpooledMessage"]

APPLICATION_ID: Final = 0x4F75744F  # "OutO"
_MIGRATIONS: Final = {
    1: """
create table if not exists spooled (seq integer primary key autoincrement, id text not null unique, queue text not null,
  body blob not null);
create table if not exists refused (seq integer primary key, id text not null, body blob not null, why text not null);
"""
}


class SpooledMessage(Struct, frozen=True):
    """One message in its wire form; `seq` is its position in the file."""

    seq: int
    id: str
    queue: str
    body: bytes


class SpoolFile:
    """The file at `path`, created when it is missing; for any number of processes and threads of one host.

    Every call blocks, and its changes are on the disk when it returns. Raises StoreError, UnsafeStore; StoreMoved when
    the file was moved or replaced since the last call, whose successor opens the file that is there then.
    """

    def __init__(self, path: str) -> None:
        self.path = os.path.realpath(path)
        self._identity = FileIdentity(path)
        self._lock = threading.Lock()
        self._db: apsw.Connection | None = None
        self._pid = 0

    @property
    def durability(self) -> Durability:
        """What a spooled message survives, given the file system of the file."""
        return durability_of(self.path)

    def exists(self) -> bool:
        """Whether the file exists; it is not created."""
        return Path(self.path).exists()

    def add(self, rows: Sequence[tuple[str, str, bytes]], limit: int) -> None:
        """Keep (id, queue, body) of each, in one transaction; an id that is in the file already stays as it is.

        Raise StoreFull, with none of them kept, when the file would hold more than `limit`.
        """
        with self._using() as db, immediate(db):
            held = int(db.execute("select count(*) from spooled").get)
            if held + len(rows) > limit:
                raise StoreFull(f"{self.path} holds {held} jobs and accepts no more (spool_limit={limit})")
            db.executemany("insert or ignore into spooled (id, queue, body) values (?, ?, ?)", rows)

    def head(self, number: int, *, without: Sequence[str] = ()) -> list[SpooledMessage]:
        """Return the first messages in order of acceptance, except those of the queues `without`.

        A row of other types than this class writes is returned too, as bytes that are no message: it hides no other.
        """
        marks = ", ".join("?" * len(without))
        with self._using() as db:
            found = db.execute(
                f"""select seq, cast(id as blob), cast(queue as blob), cast(body as blob) from spooled
                where cast(queue as text) not in ({marks}) order by seq limit ?""",  # noqa: S608
                (*without, number),
            )
            return [SpooledMessage(seq, _text(id_), _text(queue), body or b"") for seq, id_, queue, body in found]

    def take_out(self, arrived: Sequence[int], refused: Sequence[tuple[int, str]] = ()) -> None:
        """Delete messages that have arrived; move those that the store can never accept aside, each with its reason."""
        with self._using() as db, immediate(db):
            db.executemany(
                "insert or replace into refused select seq, id, body, ?2 from spooled where seq = ?1",
                [(seq, why.encode(errors="replace").decode()) for seq, why in refused],
            )
            db.executemany("delete from spooled where seq = ?", [(seq,) for seq in arrived])
            db.executemany("delete from spooled where seq = ?", [(seq,) for seq, _ in refused])

    def count(self) -> tuple[int, int]:
        """Return how many messages wait, and how many were refused."""
        with self._using() as db:
            waiting, refused = (db.execute(f"select count(*) from {each}").get for each in ("spooled", "refused"))  # noqa: S608
            return int(waiting), int(refused)

    def refused(self, number: int) -> list[tuple[str, str]]:
        """Return id and reason of the first refused messages, in order of acceptance."""
        with self._using() as db:
            found = db.execute("select cast(id as blob), why from refused order by seq limit ?", (number,))
            return [(_text(id_), why) for id_, why in found]

    @contextmanager
    def relaying(self) -> Iterator[bool]:
        """Try to become the only relay of this file; yield whether that succeeded."""
        with translated(self.path):
            descriptor = os.open(f"{self.path}-relay", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
            else:
                yield True
        finally:
            os.close(descriptor)

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._close()

    @contextmanager
    def _using(self) -> Iterator[apsw.Connection]:
        with self._lock, translated(self.path, self._db):
            if self._db is not None and self._identity.moved:
                self._close()  # the next message goes to the file that is there now
            if self._db is None or self._pid != os.getpid():  # a fork must not use its parent's connection
                self._db, self._pid = self._opened(), os.getpid()
            yield self._db
            self._identity.check()

    def _close(self) -> None:
        if self._db is not None and self._pid == os.getpid():
            self._identity.close(self._db)
        self._db = None

    def _opened(self) -> apsw.Connection:
        try:
            db = open_file(self.path, application_id=APPLICATION_ID, migrations=_MIGRATIONS, identity=self._identity)
        except StoreCorrupt as error:
            raise StoreCorrupt(f"spool={self.path!r}: {error}; give the spool a file of its own") from error
        db.pragma("wal_autocheckpoint", 1000)
        return db


def _text(column: bytes | None) -> str:
    return (column or b"").decode(errors="replace")
