"""Copies an SQLite file that is in use."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import apsw

from outlast.clients.sqlite.errors import translated
from outlast.clients.sqlite.file_identity import FileIdentity
from outlast.core.errors import StoreError, StoreFull

__all__ = ["Finish", "back_up", "copied", "sync_folder"]

Finish = Callable[[apsw.Connection], None]
"""Changes a copy before it gets its name."""


def back_up(source: FileIdentity, target: str, *, finish: Finish, busy: float) -> None:
    """Write a consistent, compact, synced copy of the file of `source` to `target`, which appears only when complete.

    Writers continue. The write-ahead log cannot be reset during the copy, so it grows by what they write.
    Only this user may read the copy. busy: seconds to wait for locks. Raise StoreError when `target` exists, StoreFull
    when the disk is full (the incomplete copy is removed), StoreMoved.
    """
    final = Path(target)
    if final.exists():
        raise StoreError(f"{target} exists: name a new file, a backup never overwrites")
    db = source.connect(busy)
    try:
        with copied(db, source.path, final, finish) as part, translated(target):
            source.check()
            part.replace(final)
            sync_folder(final.parent)
    finally:
        source.close(db)


@contextmanager
def copied(db: apsw.Connection, path: str, final: Path, finish: Finish) -> Iterator[Path]:
    """Copy the file at `path`, open in `db`, to a synced file beside `final`; remove it if the block does not move it.

    Raise StoreFull when the disk of `final` is full, StoreError.
    """
    part = final.with_name(f"{final.name}.{secrets.token_hex(4)}.part")
    with translated(str(final)):
        # A file that SQLite makes would be readable by all users.
        os.close(os.open(part, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600))
    try:
        with translated(path):
            try:
                db.execute("vacuum into ?", (str(part),))
            except apsw.FullError:
                raise StoreFull(f"the disk of {final} is full: free some space, or name another folder") from None
        with translated(str(final)):
            copy = apsw.Connection(str(part))
            try:
                finish(copy)
            finally:
                copy.close()
            with part.open("rb") as written:
                os.fsync(written.fileno())
        yield part
    finally:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable; raise OSError."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
