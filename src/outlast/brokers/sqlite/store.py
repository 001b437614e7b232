"""Implements the SQLite store: broker, records and control over one file, for any number of processes of one host."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final, TypeVar

import apsw

from outlast.aio.look import Look, look_until
from outlast.brokers.sqlite import claim, control, exchanges, guards, leases, purge, records, schedules, settle
from outlast.brokers.sqlite.batch import apply_batch
from outlast.brokers.sqlite.copies import back_up_store
from outlast.brokers.sqlite.declare import declare
from outlast.brokers.sqlite.end_waiter import EndWaiter, ended
from outlast.brokers.sqlite.history import SqliteHistory
from outlast.brokers.sqlite.publish import publish
from outlast.brokers.sqlite.repair import repair
from outlast.brokers.sqlite.retention import prune
from outlast.brokers.sqlite.searching import CountSearch, Search
from outlast.brokers.sqlite.statements import open_store
from outlast.brokers.sqlite.stats import stats
from outlast.brokers.sqlite.succession import promote_all_successors
from outlast.brokers.sqlite.tidy import Tidier
from outlast.brokers.sqlite.totals import totals
from outlast.brokers.sqlite.transaction import CHANGES, Transaction
from outlast.brokers.sqlite.tuning import Tuning
from outlast.brokers.sqlite.unreadable import close_cursors
from outlast.clients.sqlite.file_system import boot_id, durability_of
from outlast.clients.sqlite.shared_file import SharedFile
from outlast.clients.sqlite.writer import WriteOperation
from outlast.core.clock import Clock
from outlast.core.errors import OutlastError
from outlast.core.guards.record import GuardRecord, GuardsView
from outlast.core.message import TERMINAL, Delivery, Holder, Message
from outlast.core.policy import DEFAULTS
from outlast.core.schedule import Amendment, ScheduleAdvance, ScheduleEntry, ScheduleRecord
from outlast.core.settlement import Lost, Note, Published, Release, Settlement
from outlast.core.store.broker import Capabilities, QueueStats
from outlast.core.store.control import Answer, Command, Prune, Purge
from outlast.core.store.records import JobRecord, Page, Query
from outlast.core.store.totals import Outcome
from outlast.core.topology import Topology
from outlast.core.unreadable import READ_ERRORS

__all__ = ["SqliteStore"]

T = TypeVar("T")

POLL: Final = 1.0
"""Seconds after which a waiting claim looks again, because it may have missed a notification."""
SOUND: Final = 60.0
"""Seconds after a check of all rows that found nothing wrong, in which no other check is made."""


class SqliteStore(exchanges.SqliteExchanges, SqliteHistory):
    """Broker and all parts of core.store over the file at `path`, which is created when it is missing.

    One object serves one event loop. Durability: every answer follows a commit that was synced to the disk.
    """

    def __init__(
        self, path: str, *, clock: Clock, max_body: int = DEFAULTS.max_body, tuning: Tuning | None = None
    ) -> None:
        super().__init__()
        self._tuning = tuning or Tuning()
        self._clock = clock
        self._max_body = max_body
        self._capabilities: Capabilities | None = None
        self._file = SharedFile(
            path,
            open_db=lambda identity: open_store(identity.path, self._tuning, identity=identity),
            session=lambda db: Transaction(db, clock, boot_id(), max_body),
            apply=apply_batch,
            upkeep=lambda tx, checkpointer: Tidier(tx, self.path, checkpointer, self._tuning),
            tuning=self._tuning,
            changes=CHANGES,
            always=("work",),
        )
        self.path = self._file.path
        self._end_waiter = EndWaiter(self._file.notifiers["ended"])
        self._sound_until = 0.0
        """Until then the rows are not checked again: a check that found nothing wrong is dear."""

    @property
    def capabilities(self) -> Capabilities:
        """The durability of the file system, and the limits of the store."""
        if self._capabilities is None:
            self._capabilities = Capabilities(durability=durability_of(self.path), max_body=self._max_body, shared=True)
        return self._capabilities

    async def open(self) -> None:
        """Open the file, created or migrated as needed. Raise StoreError or UnsafeStore; opening twice is a no-op."""
        await self._file.open()

    async def close(self) -> None:
        """Finish the submitted operations, then close the file. Held jobs stay held until their lease lapses."""
        await self._file.close()

    async def _submit(self, run: Callable[[Transaction], T], **how: Any) -> T:
        result: T
        try:
            result = await self._file.submit(WriteOperation(run, **how))
        except Exception as error:
            if not await self._repaired(error):
                raise
            result = await self._file.submit(WriteOperation(run, **how))
        return result

    async def _repaired(self, error: BaseException | None) -> bool:
        """Return whether a call may have failed on a damaged row, and rows were repaired: then it is made again."""
        if isinstance(error, OutlastError):
            error = error.__cause__  # of SQLite, for a value that it cannot calculate with or put into JSON
        wrong_value = (apsw.SQLError, apsw.MismatchError, apsw.ConstraintError, *READ_ERRORS)
        loop = asyncio.get_running_loop()
        if not isinstance(error, wrong_value) or not self._file.is_open or loop.time() < self._sound_until:
            return False
        if await self._file.submit(WriteOperation(repair)):
            close_cursors(error)
            return True
        self._sound_until = loop.time() + SOUND
        return False

    async def _read(self, read: Callable[..., T], *args: object) -> T:
        try:
            return await self._file.read(read, *args)
        except Exception as error:
            if not await self._repaired(error):
                raise
        return await self._file.read(read, *args)

    # Broker

    async def declare(self, topology: Topology) -> None:
        """Write these queues with their limits, and let claims take parked jobs of these kinds."""
        await self._submit(lambda tx: declare(tx, topology))

    async def publish(self, messages: Sequence[Message]) -> list[Published]:
        """Write the messages; the answers align with the input."""
        return await self._submit(lambda tx: publish(tx, messages), merge=messages) if messages else []

    async def claim(
        self, demand: Mapping[str, int], *, limit: int, holder: Holder, lease: float, wait: float
    ) -> list[Delivery]:
        """Hand out ready jobs; wait up to `wait` seconds for the first."""

        def run(tx: Transaction) -> tuple[list[Delivery], float | None]:
            deliveries = claim.claim(tx, demand, limit, holder, lease)
            return deliveries, None if deliveries else claim.next_look(tx, demand, holder)

        def peek(tx: Transaction) -> tuple[list[Delivery], float | None] | None:
            if claim.nothing_to_claim(tx, demand, holder):
                return [], claim.next_look(tx, demand, holder)
            return None

        async def look(_: float) -> Look[list[Delivery]]:
            deliveries, soon = await self._submit(run, peek=peek, undo=_release)
            return Look(deliveries, bool(deliveries), soon)

        return await look_until(look, notifier=self._file.notifiers["work"], timeout=wait, poll=POLL)

    async def settle(self, settlements: Sequence[Settlement]) -> list[Lost]:
        """Apply each settlement whose fence still counts; return the superseded ones."""
        return await self._submit(lambda tx: settle.settle(tx, settlements)) if settlements else []

    async def extend(self, holder: Holder, *, lease: float) -> list[Lost]:
        """Renew the lease of `holder`; return the jobs that it lost and those that it must cancel."""
        return await self._submit(lambda tx: leases.extend(tx, holder, lease))

    async def save(self, notes: Sequence[Note]) -> list[Lost]:
        """Keep notes about running jobs; return the superseded ones."""
        return await self._submit(lambda tx: settle.save(tx, notes)) if notes else []

    async def forfeit(self, holder: Holder, *, crashed: bool) -> int:
        """Make the jobs of a dead holder ready at once; return how many."""
        return await self._submit(lambda tx: leases.forfeit(tx, holder, crashed=crashed))

    async def stats(self, queues: Sequence[str]) -> dict[str, QueueStats]:
        """Count these queues, all known ones when empty."""
        return await self._read(stats, queues, self._clock.time(), self._clock.monotonic(), boot_id())

    async def totals(self, queues: Sequence[str] = ()) -> dict[tuple[str, str, Outcome], int]:
        """Return the number of ended jobs by queue, kind and outcome."""
        return await self._read(totals, queues)

    # Records

    async def get(self, ids: Sequence[str]) -> list[JobRecord | None]:
        """Return the records, aligned with `ids`."""
        return await self._read(records.get, ids, self._clock.time())

    async def find(self, query: Query) -> Page:
        """Return one page of matching records."""
        search = Search(query, self._clock.time())
        while (page := await self._read(search.step)) is None:
            pass  # each step is short, and other reads run between two
        return page

    async def wait(self, ids: Sequence[str], timeout: float) -> list[JobRecord | None]:
        """Return the records once all jobs have ended or are unknown, or after `timeout` seconds."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout
        notifier = self._file.listen("ended")
        while True:
            seen = notifier.count
            found = await self.get(ids)
            left = deadline - loop.time()
            unfinished = [record.id for record in found if record is not None and record.state not in TERMINAL]
            if left <= 0 or not unfinished:
                return found
            await self._end_waiter.wait(unfinished, seen, left, find_ended=self._find_ended)

    async def _find_ended(self, ids: Sequence[str]) -> list[str]:
        return await self._read(ended, ids, self._clock.time())

    async def count(self, query: Query) -> dict[Any, int]:
        """Count matching records by state."""
        tally = CountSearch(query, self._clock.time())
        while (counts := await self._read(tally.step)) is None:
            pass
        return counts

    # Control

    async def apply(self, commands: Sequence[Command]) -> list[Answer]:
        """Apply the commands in order, in one transaction; a single `Prune` or long `Purge` takes many."""
        if list(commands) == [Prune()]:
            return [await self._prune()]
        if len(commands) == 1 and isinstance(commands[0], Purge) and purge.is_long(commands[0]):
            return [await self._purge(commands[0])]
        return await self._submit(lambda tx: control.apply(tx, commands)) if commands else []

    async def _prune(self) -> Answer:
        """Apply retention in many short transactions: one long one would block every other writer."""
        total, more = 0, True
        while more:
            done, more = await self._submit(prune)
            total += done
        await self._submit(promote_all_successors)  # as any command: one may be too late by now
        return Answer(ok=True, changed=total)

    async def _purge(self, wanted: Purge) -> Answer:
        """Remove the jobs of a queue or a key that were accepted until now, in many short transactions."""
        total, after = 0, 0
        if wanted.key is not None:
            keyed = await self._read(purge.of_key, wanted, self._clock.time())
            # At least once, even without jobs: this deletes the key itself.
            for first in range(0, max(1, len(keyed)), purge.CHUNK):
                some = keyed[first : first + purge.CHUNK]
                total += await self._submit(partial(purge.purge_some, wanted=wanted, seqs=some))
            return Answer(ok=True, changed=total)
        upto = await self._read(purge.last_seq)
        while seqs := await self._read(purge.candidates, wanted, self._clock.time(), after, upto):
            total += await self._submit(partial(purge.purge_some, wanted=wanted, seqs=seqs))
            after = seqs[-1]
        return Answer(ok=True, changed=total)

    # Schedules

    async def schedules(self) -> list[ScheduleRecord]:
        """Return all schedules, by name."""
        return await self._read(schedules.schedules)

    async def enlist(self, entries: Sequence[ScheduleEntry]) -> list[ScheduleRecord]:
        """Declare schedules; return their records."""
        return await self._submit(lambda tx: schedules.enlist(tx, entries)) if entries else []

    async def advance(self, moves: Sequence[ScheduleAdvance]) -> list[bool]:
        """Take ticks and publish their messages in one transaction."""
        return await self._submit(lambda tx: schedules.advance(tx, moves)) if moves else []

    async def amend(self, changes: Sequence[Amendment]) -> list[Answer]:
        """Change schedules for an operator; notify the schedulers of all processes."""
        return await self._submit(lambda tx: schedules.amend(tx, changes)) if changes else []

    async def amended(self, since: int, timeout: float) -> int:
        """Return a number above `since` once an operator changed schedules, or `since` after `timeout` seconds."""
        notifier = self._file.listen("schedule")
        await notifier.wait(since, timeout)
        return notifier.count

    # Guards

    async def guards(self) -> GuardsView:
        """Return all guards by name."""
        return await self._read(guards.guards, boot_id(), self._clock.monotonic())

    async def swap(self, records: Sequence[GuardRecord]) -> list[bool]:
        """Store the records that follow on the stored revision; notify all processes."""
        return await self._submit(lambda tx: guards.swap(tx, records)) if records else []

    async def guards_changed(self, since: int, timeout: float) -> int:
        """Return a number above `since` once a guard was changed, or `since` after `timeout` seconds."""
        notifier = self._file.listen("guard")
        await notifier.wait(since, timeout)
        return notifier.count

    async def backup(self, target: str) -> None:
        """Write a consistent copy of the file to `target`, which must not exist, while the store is in use."""
        await asyncio.to_thread(back_up_store, self._file.identity, target, self._tuning)


def _release(result: tuple[list[Delivery], float | None]) -> Callable[[Transaction], Any] | None:
    """Return the function that releases the deliveries of a cancelled claim."""
    releases = [Release(delivery.fence, why="claim cancelled") for delivery in result[0]]
    return (lambda tx: settle.settle(tx, releases)) if releases else None
