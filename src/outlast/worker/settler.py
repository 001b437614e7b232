"""Sends settlements to the store in groups: all runs that ended during the last flush go in one call."""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Callable, Sequence
from contextvars import copy_context
from typing import Final

from outlast.aio.tasks import cancel
from outlast.core.errors import StoreError
from outlast.core.settlement import Note, Release, Settlement
from outlast.core.store.store import Store
from outlast.worker.budget import Budget, EndedRun
from outlast.worker.follow_ups import NONE, Absent, absent_ones, in_doubt, in_question
from outlast.worker.report import Reporter, Superseded
from outlast.worker.run import Run
from outlast.worker.store_link import StoreLink

__all__ = ["Settler", "Settlers"]

_logger = logging.getLogger("outlast.worker")
_UNKEPT_PAUSE: Final = 60.0
"""Seconds until a job runs again whose settlement the store cannot take."""


class Settler:
    """Sends settlements to the store in order of arrival.

    A flush starts as soon as the last one has returned. During an outage of the store it is repeated without end; the
    runs keep their slots, so the number of waiting settlements is bounded. `broken(error)` is called when the store
    cannot be used any more, or the code of a job has ended the task. queue: the only queue of these settlements, if
    there is only one.
    """

    def __init__(
        self,
        link: StoreLink,
        budget: Budget,
        report: Reporter,
        *,
        broken: Callable[[BaseException], None],
        queue: str = "",
    ) -> None:
        self._retry = functools.partial(link.retry, "settle", queue=queue)
        self._link = link
        self._budget = budget
        self._report = report
        self._broken = broken
        self._waiting: list[EndedRun] = []
        self._task: asyncio.Task[None] | None = None
        self._closing = False
        self._around = copy_context()

    def add(self, run: Run, settlement: Settlement) -> None:
        """Add one settlement. Its flush includes all runs that end in the same turn of the event loop."""
        self._waiting.append((run, settlement))
        if self._task is None:
            # In the context of the run that ends here, what is reported of all others would have its trace.
            loop = asyncio.get_running_loop()
            self._task = loop.create_task(self._work(), name="outlast settler", context=self._around.copy())

    async def close(self) -> None:
        """Give up what is not settled yet: its lease will lapse."""
        self._closing = True
        if self._task is not None:
            await cancel(self._task)

    async def _work(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = self._waiting, []
                self._budget.begin_settling(batch)
                superseded = await self._settle(batch)
                # Before the runs count as settled: a worker that stops ends this task when the last one does.
                absent = await self._absent(batch)
                self._budget.settled(batch)
                self._report.settled(batch, superseded, absent)
        except GeneratorExit:
            raise  # the event loop is closed
        except BaseException as error:
            if not self._closing:
                self._broken(error)
        finally:
            self._task = None

    async def _absent(self, batch: list[EndedRun]) -> Absent:
        """Return the follow-ups that were not stored; those in doubt if the store cannot be read now."""
        asked = in_question(settlement for _, settlement in batch)
        if not asked:
            return NONE
        try:
            return await self._link.once(lambda store: absent_ones(store, asked))
        except StoreError:  # no answer in time
            return in_doubt(self._link.store, asked)

    async def _settle(self, batch: list[EndedRun]) -> Superseded:
        notes = [
            Note(run.delivery.fence, name, value) for run, _ in batch if run.notes for name, value in run.notes.items()
        ]
        settlements = [settlement for _, settlement in batch]
        began = self._link.clock.monotonic()
        try:
            superseded = await self._retry(functools.partial(_keep, notes, settlements))
        except StoreError:
            raise
        except Exception as error:
            return await self._one_by_one(batch, error)
        self._budget.trip.add(self._link.clock.monotonic() - began)
        return superseded

    async def _one_by_one(self, batch: list[EndedRun], error: Exception) -> Superseded:
        """Settle each run in its own call: one settlement that the store cannot take must not block the others.

        The batch then has what was settled instead, for those who count and tell it.
        """
        if len(batch) > 1:
            superseded: set[tuple[str, int]] = set()
            for place, entry in enumerate(batch):
                try:
                    superseded |= await self._retry(functools.partial(_keep, [], [entry[1]]))
                except StoreError:
                    raise
                except Exception as single:
                    alone = [entry]
                    superseded |= await self._one_by_one(alone, single)
                    batch[place] = alone[0]
            return frozenset(superseded)
        run, settlement = batch[0]
        _logger.error(
            "job %s: the store could not take its settlement (%s): the job runs again in %.0f s",
            run.delivery.message.id,
            type(error).__name__,
            _UNKEPT_PAUSE,
            exc_info=error,
        )
        at, why = self._link.clock.time() + _UNKEPT_PAUSE, "its settlement could not be kept"
        again = Release(settlement.fence, at=at, why=why, begun=run.begun)
        batch[0] = (run, again)
        return await self._retry(functools.partial(_keep, [], [again]))


class Settlers:
    """One settler per queue, for a store with its queues on several servers: an outage delays one queue only."""

    def __init__(self, make: Callable[[str], Settler]) -> None:
        self._make = make
        self._by_queue: dict[str, Settler] = {}

    def add(self, run: Run, settlement: Settlement) -> None:
        """Add one settlement."""
        queue = settlement.fence.queue
        settler = self._by_queue.get(queue)
        if settler is None:
            settler = self._by_queue[queue] = self._make(queue)
        settler.add(run, settlement)

    async def close(self) -> None:
        """Give up what is not settled yet: its lease will lapse."""
        for settler in self._by_queue.values():
            await settler.close()


async def _keep(notes: list[Note], settlements: Sequence[Settlement], store: Store) -> Superseded:
    if notes:
        await store.broker.save(notes)  # before the settlement: after it, the store refuses them
    return frozenset((lost.fence.id, lost.fence.token) for lost in await store.broker.settle(settlements))
