"""Makes and restores backups of a store's file. A copy is a store of its own: it has another id and higher fences."""

from __future__ import annotations

import apsw

from outlast.brokers.sqlite.statements import APPLICATION_ID, OLDEST_CODE, SCHEMA, statements
from outlast.brokers.sqlite.tuning import Tuning
from outlast.clients.sqlite.backup import back_up
from outlast.clients.sqlite.file_identity import FileIdentity
from outlast.clients.sqlite.restore import restore

__all__ = ["back_up_store", "restore_store"]


def back_up_store(source: FileIdentity, target: str, tuning: Tuning) -> None:
    """Write a copy of the open file of `source` to `target`; raise what `back_up` raises."""
    back_up(source, target, finish=_renew, busy=tuning.busy)


def restore_store(backup: str, path: str, tuning: Tuning | None = None) -> str:
    """Put a backup at `path`; return the name of the replaced file, "" without one; raise what `restore` raises."""
    return restore(
        backup,
        path,
        application_id=APPLICATION_ID,
        newest=SCHEMA,
        oldest_code=OLDEST_CODE,
        finish=_renew,
        busy=(tuning or Tuning()).busy,
    )


def _renew(copy: apsw.Connection, replaced: apsw.Connection | None = None) -> None:
    """Give a copy another id, and fences above all that were handed out before: a late report on one counts nowhere."""
    sql = statements()
    if copy.table_exists("main", "file"):  # not in a copy of schema 1, which gets its id when it is migrated
        copy.execute(sql["renew_id"])
    lowest = 0 if replaced is None else int(replaced.execute("select fence from store").get or 0)
    copy.execute(sql["renew_fence"], (lowest,))
