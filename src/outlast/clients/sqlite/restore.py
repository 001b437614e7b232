"""Puts a backup in the place of an SQLite file, also of one that is in use; the replaced file is kept aside."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final
from urllib.parse import quote

import apsw

from outlast.clients.sqlite.backup import copied, sync_folder
from outlast.clients.sqlite.connection import creation_lock, immediate, open_connection
from outlast.clients.sqlite.errors import translated
from outlast.clients.sqlite.file_system import durability_of
from outlast.clients.sqlite.log_owner import check_log, free_name, note_owner
from outlast.core.errors import StoreCorrupt, StoreError, StoreMissing

__all__ = ["restore"]

_FILES: Final = ("-wal", "-shm", "")
Finish = Callable[[apsw.Connection, apsw.Connection | None], None]
"""Changes the copy of the backup before it takes the place of the replaced file (None: it cannot be read)."""


def restore(
    backup: str, path: str, *, application_id: int, newest: int, oldest_code: str, finish: Finish, busy: float
) -> str:
    """Put a copy of `backup` at `path`; return where the replaced file is now, with its log, "" when there was none.

    It may be in use: no transaction of it commits during the change of names, and each process that has it open finds
    out by its FileIdentity. A crash on the way leaves either file in place, whole. application_id, oldest_code: as for
    `open_file`; newest: the schema of this code. busy: seconds to wait for a transaction. Raise StoreMissing,
    StoreCorrupt (`backup` is damaged or of another program), StoreError (from newer code), StoreFull, StoreUnavailable,
    UnsafeStore; `path` is as it was then.
    """
    final = Path(path)
    durability_of(path)
    if not Path(backup).is_file():
        raise StoreMissing(f"{backup} is no file: name a backup, a file that outlast backup has written")
    if final.exists() and final.samefile(backup):
        raise StoreError(f"{backup} is the store itself: name a backup of it")
    if final.exists() and _application(path) not in (application_id, 0, None):
        raise StoreCorrupt(f"{path} is an SQLite file of another program: it is not replaced, give --url")
    with _reading(backup) as source:
        _check(source, backup, application_id, newest, oldest_code)
        with translated(path), creation_lock(path) as lock, _at_rest(lock, path, busy) as old:
            with copied(source, backup, final, lambda copy: finish(copy, old)) as part:
                aside = _replace(part, path)
            sync_folder(final.parent)
            note_owner(lock, path)
    if aside:
        _join_log(aside)
    return aside


@contextmanager
def _reading(path: str) -> Iterator[apsw.Connection]:
    """Open a file of which nothing may change."""
    with translated(path):
        if Path(f"{path}-wal").exists():
            db = apsw.Connection(path, flags=apsw.SQLITE_OPEN_READWRITE)
            db.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
        else:  # without a log; perhaps in a folder where none can be made
            flags = apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
            db = apsw.Connection(f"file:{quote(path)}?immutable=1", flags=flags)
        try:
            yield db
        finally:
            db.close()


def _check(db: apsw.Connection, path: str, application_id: int, newest: int, oldest_code: str) -> None:
    if int(db.pragma("application_id")) != application_id:
        raise StoreCorrupt(f"{path} is not a backup of Outlast: name a file that outlast backup has written")
    version = int(db.pragma("user_version"))
    if version > newest and int(db.execute(oldest_code).get) > newest:
        raise StoreError(f"{path} has schema {version}, and this code reads up to {newest}: upgrade outlast here")
    faults = [" ".join(str(row[0]).split()) for row in db.execute("pragma quick_check(3)")]
    if faults != ["ok"]:
        raise StoreCorrupt(f"{path} is damaged ({'; '.join(faults)}): name another backup")


def _application(path: str) -> int | None:
    """Return the mark of an SQLite file, None when it cannot be read."""
    flags = apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
    with contextlib.suppress(apsw.Error):
        db = apsw.Connection(f"file:{quote(path)}?immutable=1", flags=flags)
        try:
            return int(db.pragma("application_id"))
        finally:
            db.close()
    return None


@contextmanager
def _at_rest(lock: int, path: str, busy: float) -> Iterator[apsw.Connection | None]:
    """Keep every other process from committing to the file within the block; yield None when it cannot be read."""
    with contextlib.ExitStack() as stack:
        db: apsw.Connection | None = None
        try:
            check_log(lock, path)
            if not Path(path).exists():
                yield None
                return
            db = open_connection(path, busy)
            stack.callback(db.close)
            db.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
            stack.enter_context(immediate(db))
        except apsw.BusyError:
            raise
        except (apsw.Error, StoreCorrupt):  # it is damaged, which is why it is replaced
            db = None
        yield db


def _replace(part: Path, path: str) -> str:
    """Move `part` to `path`; return the name of the file that was there, with its log, "" when there was none."""
    final, aside = Path(path), ""
    if final.exists():
        known = final.stat()
        os.chown(part, known.st_uid, known.st_gid)  # root may restore the file of another user
        part.chmod(known.st_mode & 0o777)
        aside = free_name(path)
        # A second name for each, then one step: a crash leaves a whole file at `path`, the old one or the new one.
        for suffix in _FILES:
            if Path(f"{path}{suffix}").exists():
                os.link(f"{path}{suffix}", f"{aside}{suffix}")
    try:
        part.replace(final)
    except BaseException:
        for suffix in _FILES if aside else ():
            Path(f"{aside}{suffix}").unlink(missing_ok=True)
        raise
    for suffix in ("-wal", "-shm"):
        Path(f"{path}{suffix}").unlink(missing_ok=True)
    return aside


def _join_log(aside: str) -> None:
    """Move the log into the file that is kept, unless a process still has it open: then the log stays beside it."""
    with contextlib.suppress(apsw.Error):
        db = open_connection(aside)
        try:
            db.pragma("user_version")
        finally:
            db.close()
