"""Copying a file that is in use."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from outlast.brokers.sqlite.connection import open_connection, translated
from outlast.core.errors import StoreError

__all__ = ["back_up"]


def back_up(path: str, target: str) -> None:
    """Write a consistent, compact copy of the file at `path` to `target`, synced, under its name only when whole.

    Writers go on; the write-ahead log can't be reset while it lasts, so it grows by what they write meanwhile.
    Raise StoreError when `target` exists, StoreFull when there is no room (nothing is left behind).
    """
    final = Path(target)
    if final.exists():
        raise StoreError(f"{target} exists: name a new file, a backup never overwrites")
    part = final.with_name(final.name + ".part")
    with translated(target):
        part.unlink(missing_ok=True)
        db = open_connection(path)
        try:
            db.execute("vacuum into ?", (str(part),))
            with part.open("rb") as written:
                os.fsync(written.fileno())
            part.replace(final)
            folder = os.open(final.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        finally:
            db.close()
            with contextlib.suppress(OSError):
                part.unlink(missing_ok=True)
