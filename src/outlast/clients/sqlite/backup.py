"""Copies an SQLite file that is in use."""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path

import apsw

from outlast.clients.sqlite.connection import open_connection
from outlast.clients.sqlite.errors import translated
from outlast.core.errors import StoreError, StoreFull

__all__ = ["back_up"]


def back_up(path: str, target: str, busy: float) -> None:
    """Write a consistent, compact, synced copy of the file at `path` to `target`, which appears only when complete.

    Writers continue. The write-ahead log cannot be reset during the copy, so it grows by what they write.
    Only this user may read the copy. busy: seconds to wait for locks. Raise StoreError when `target` exists, StoreFull
    when the disk is full (the incomplete copy is removed).
    """
    final = Path(target)
    if final.exists():
        raise StoreError(f"{target} exists: name a new file, a backup never overwrites")
    part = final.with_name(f"{final.name}.{secrets.token_hex(4)}.part")
    with translated(target):
        # A file that SQLite makes would be readable by all users.
        os.close(os.open(part, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600))
    try:
        _copy(path, part, target, busy)
        with translated(target):
            with part.open("rb") as written:
                os.fsync(written.fileno())
            part.replace(final)
            folder = os.open(final.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
    finally:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)


def _copy(path: str, part: Path, target: str, busy: float) -> None:
    with translated(path):
        db = open_connection(path, busy)
        try:
            db.execute("vacuum into ?", (str(part),))
        except apsw.FullError:
            raise StoreFull(f"the disk of {target} is full: free some space, or name another folder") from None
        finally:
            db.close()
