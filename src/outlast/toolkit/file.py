"""The toolkit's data in an SQLite file of its own, shared by the processes of one host."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from functools import cache
from importlib.resources import files
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, TypeVar

from outlast.aio.notifier import Notifier
from outlast.clients.sqlite.checkpointer import Checkpointer
from outlast.clients.sqlite.connection import SharedConnection, immediate, open_file
from outlast.clients.sqlite.file_identity import FileIdentity
from outlast.clients.sqlite.file_system import boot_id
from outlast.clients.sqlite.shared_file import SharedFile
from outlast.clients.sqlite.statements import load_migrations
from outlast.clients.sqlite.tuning import FileTuning
from outlast.clients.sqlite.writer import WriteOperation, WriteResult
from outlast.core.clock import Clock
from outlast.toolkit.store import ToolkitStore

if TYPE_CHECKING:
    from outlast.toolkit.memory import ToolkitMemory
    from outlast.toolkit.server import ToolkitServer

__all__ = ["CHANGES", "FileSession", "ToolkitFile"]

T = TypeVar("T")
logger = logging.getLogger("outlast.toolkit")

APPLICATION_ID: Final = 0x4F75744B  # "OutK"
CHANGES: Final = ("lock", "flight")
"""Names of changes: a lock was released, a computation or a request has ended. Other versions use these too."""
TIDY: Final = 1.0
"""Seconds between two steps that remove what has expired."""
BUSY: Final = 5.0
"""The longest wait for another process's transaction, in seconds, before StoreUnavailable."""


class FileSession:
    """The state of one transaction. Operations run on it; `run` and `rows` execute SQL with parameters.

    wall: seconds since 1970, for what people see. tick: CLOCK_MONOTONIC, for leases.
    """

    def __init__(self, db: SharedConnection, clock: Clock) -> None:
        self.db = db
        self.changes: set[str] = set()
        self.wall = self.tick = 0.0
        self.synced = True
        self._clock = clock

    def begin(self) -> None:
        """Take the time of the transaction."""
        self.wall, self.tick = self._clock.time(), self._clock.monotonic()
        self.changes = set()

    def rolled_back(self) -> None:
        """Forget the changes of a transaction that was rolled back."""
        self.changes = set()

    def run(self, sql: str, *parameters: Any) -> int:
        """Execute a statement; return the number of changed rows."""
        self.db.execute(sql, parameters)
        return self.db.changes()

    def rows(self, sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Return the rows of a statement."""
        return self.db.execute(sql, parameters).fetchall()

    def row(self, sql: str, *parameters: Any) -> tuple[Any, ...] | None:
        """Return the first row of a statement, None without one."""
        found = self.rows(sql, *parameters)
        return found[0] if found else None


class _Write(WriteOperation[FileSession]):
    """An operation. synced: it is on the disk when it is answered."""

    __slots__ = ("synced",)

    def __init__(self, run: Callable[[FileSession], Any], *, synced: bool, **how: Any) -> None:
        super().__init__(run, **how)
        self.synced = synced


Tidy = Callable[[FileSession], bool]
"""Removes some of what has expired; returns whether more remains."""


class ToolkitFile(ToolkitStore):
    """The file at `path`, for one event loop.

    tidies: steps that remove what has expired, between the transactions of others.
    """

    def __init__(self, path: str, clock: Clock, *, tidies: Collection[Tidy] = ()) -> None:
        self.clock: Final = clock
        tuning = FileTuning(busy=BUSY)
        self._file = SharedFile[FileSession](
            path,
            open_db=lambda identity: _opened(identity, tuning),
            session=lambda db: FileSession(db, clock),
            apply=_applied,
            prepare=_prepared,
            upkeep=lambda session, checkpointer: _Tidier(session, checkpointer, tidies),
            tuning=tuning,
            changes=CHANGES,
            reads_here=True,
            when_moved="The next use of the toolkit opens the file that is there, or a new one",
        )
        self.path: Final = self._file.path
        self.shown = self.path

    async def open(self) -> None:
        """Open the file, created or migrated as needed. Raise StoreError, UnsafeStore; opening twice is a no-op."""
        await self._file.open()

    async def close(self) -> None:
        """Finish the submitted operations, then close the file."""
        await self._file.close()

    def choose(
        self,
        memory: Callable[[ToolkitMemory], T],
        file: Callable[[ToolkitFile], T],
        server: Callable[[ToolkitServer], T],
    ) -> T:
        """Return what the function for this kind of store returns."""
        return file(self)

    def listen(self, change: str) -> Notifier:
        """Return the notifier of a change; other processes notify it too."""
        return self._file.listen(change)

    async def write(
        self,
        run: Callable[[FileSession], T],
        *,
        synced: bool,
        undo: Callable[[T], Callable[[FileSession], Any] | None] | None = None,
    ) -> T:
        """Return `run(session)`, run in a transaction that others may share. Raise StoreError.

        synced: the answer follows a sync to the disk; without it a crash of the host may undo the last second. undo:
        see `WriteOperation`.
        """
        found: T = await self._file.submit(_Write(run, synced=synced, undo=undo))
        return found

    def read_row(self, sql: str, *parameters: Any) -> tuple[Any, ...] | None:
        """Return the first row of a statement, on the event loop: for one indexed row. Raise StoreError."""
        return self._file.read_here(lambda db: db.execute(sql, parameters).fetchone())

    async def read(self, sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Return the rows of a statement, read in a thread. Raise StoreError."""
        return await self._file.read(lambda db: db.execute(sql, parameters).fetchall())


def _applied(session: FileSession, batch: list[WriteOperation[FileSession]]) -> list[WriteResult[FileSession]]:
    return [(operation, operation.run(session), None) for operation in batch]


def _prepared(session: FileSession, batch: list[WriteOperation[FileSession]]) -> None:
    """Let the commit of the batch be synced if one of its operations asks for that."""
    synced = any(not isinstance(operation, _Write) or operation.synced for operation in batch)
    if synced is not session.synced:
        session.db.pragma("synchronous", "full" if synced else "normal")
        session.synced = synced


@cache
def _migrations() -> dict[int, str]:
    return load_migrations(__package__)


@cache
def _after_boot() -> str:
    return files(__package__).joinpath("sql", "after_boot.sql").read_text(encoding="utf-8")


def _opened(identity: FileIdentity, tuning: FileTuning) -> SharedConnection:
    db = open_file(
        identity.path,
        application_id=APPLICATION_ID,
        migrations=_migrations(),
        busy=tuning.busy,
        identity=identity,
    )
    try:
        _begin_boot(db, boot_id())
    except BaseException:
        identity.close(db)
        raise
    return db


def _begin_boot(db: SharedConnection, boot: str) -> None:
    """Take back the leases of an earlier boot of the host."""
    if db.execute("select boot from toolkit").get == boot:
        return
    with immediate(db):
        if db.execute("select boot from toolkit").get != boot:
            db.execute(_after_boot()).fetchall()
            db.execute("update toolkit set boot = ?", (boot,))


class _Tidier:
    """Removes what has expired in short steps, and shortens the log while nothing is written."""

    def __init__(self, session: FileSession, checkpointer: Checkpointer, tidies: Collection[Tidy]) -> None:
        self._session = session
        self._checkpointer = checkpointer
        self._tidies = tidies
        self.wrote = 0
        self.next_at = monotonic() + TIDY

    def look(self, free: Callable[[], bool]) -> None:
        """Do one step of each, and more while `free()` returns true."""
        try:
            for tidy in self._tidies:
                while self._step(tidy) and free():
                    continue
            if self.wrote == 0:
                self._checkpointer.idle(empty=False)
        except Exception as error:
            logger.warning(
                "%s: what has expired could not be removed, trying again: %s", self._session.db.filename, error
            )
        finally:
            self.wrote = 0
            self.next_at = monotonic() + TIDY

    def _step(self, tidy: Tidy) -> bool:
        _prepared(self._session, [])
        with immediate(self._session.db):
            self._session.begin()
            return tidy(self._session)

    def close(self) -> None:
        """Leave what has expired: the next process removes it."""
