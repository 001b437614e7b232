"""Removes the objects of large arguments and results whose jobs are no more, and those that no job ever had."""

from __future__ import annotations

import asyncio
import functools
import hashlib
import logging
from collections.abc import AsyncIterator, Collection, Sequence
from pathlib import Path
from random import Random
from typing import Final

from outlast.brokers.registry import find_kind
from outlast.core.claims import CLAIMS, job_of_key
from outlast.core.errors import OutlastError
from outlast.core.ids import queue_of
from outlast.core.text import counted
from outlast.toolkit.objects.claims import Claims
from outlast.toolkit.objects.link import ObjectLink
from outlast.toolkit.objects.place import Listed, ObjectPlace
from outlast.worker.ports import RuntimePort
from outlast.worker.store_link import StoreLink

__all__ = ["ClaimSweep", "sweep_of"]

_logger = logging.getLogger("outlast.worker")

MARK: Final = ".outlast/swept"
"""The object whose time is that of the last sweep of these queues, of any process, by the clock of the object store."""
STORES: Final = ".outlast/stores/"
"""Where each store of jobs that uses the place has an object, whose bytes name it."""
GONE: Final = 30 * 86400.0
"""Seconds after which a store of jobs, whose workers have not looked at the place since, counts as given up."""
EVERY: Final = 3600.0
"""Seconds between two sweeps of all processes."""
LOOK: Final = 900.0
"""Seconds between two looks of a process whether a sweep is due, give or take a half."""
AGAIN: Final = 60.0
"""Seconds after which the store is asked again, before an object is removed.

What held a job back until now has reached the store by then: settlements and relays that waited for it to come back.
"""
WITHOUT_RECORDS: Final = 30 * 86400.0
"""Seconds that objects stay where the broker cannot tell which jobs it knows."""
ASKED: Final = 200
"""Jobs that are looked up in one call."""


def sweep_of(runtime: RuntimePort, link: StoreLink) -> ClaimSweep | None:
    """Return the sweep of a worker; None where no objects outlive the process, or none are kept."""
    claims = runtime.claims
    if not claims.active or claims.link.place.in_process:
        return None
    queues = frozenset((*runtime.registry.queues, *(each.queue for each in runtime.registry.kinds.values())))
    url = runtime.settings.url
    kind = find_kind(url)
    return ClaimSweep(claims, link, queues, runtime.rng, owner="" if kind is None else kind.identity(url))


class ClaimSweep:
    """Looks at all objects of the claim check, and deletes those of which no job is known.

    An object is deleted when it was put at least `Claims.keep` seconds ago, by the clock of the object store, and its
    job, of a queue of this app, is not known at two times since. An object is put before its job is published, so that
    a job that is known later than that has been on its way for longer than any publish takes.

    Nothing is deleted where another store of jobs uses the same place: this one knows none of its jobs.

    queues: others may belong to another app, whose jobs may be in another store. owner: names the store of the jobs,
    without secrets; that of a file also by its inode, so that those of two hosts differ.
    """

    def __init__(
        self,
        claims: Claims,
        link: StoreLink,
        queues: Collection[str],
        rng: Random,
        *,
        again: float = AGAIN,
        owner: str = "",
    ) -> None:
        self._claims = claims
        self._link = link
        self._queues = queues
        self._rng = rng
        self._again = again
        self._owner = owner or link.store.url
        self._mark = f"{MARK}-{_digest(' '.join(sorted(queues)))}"

    async def run(self) -> None:
        """Look for ever whether a sweep is due, and make it."""
        while True:
            await asyncio.sleep(LOOK * (0.5 + self._rng.random()))
            try:
                await self.step()
            except OutlastError as error:  # away: the runs that need it tell that
                _logger.debug("objects without a job could not be removed: %s", error)
            except Exception as error:
                _logger.warning("objects without a job could not be removed, trying again: %s", error)

    async def step(self) -> int:
        """Sweep if that is due; return the number of deleted objects. Raise StoreError, ToolkitAway."""
        objects = self._claims.link
        if not await self._is_due(objects):
            return 0
        return await self.sweep()

    async def sweep(self) -> int:
        """Sweep now; return the number of deleted objects."""
        objects = self._claims.link
        now = await self._marked(objects, self._mark)
        if other := await self._other_store(objects, now):
            _logger.warning(
                "large arguments and results of jobs that are gone are not removed: the jobs in %s and those in %s "
                "have the same objects_url (%s). Give each store of jobs a prefix of its own; if the other is given "
                "up, delete the object of its name below %s",
                self._name(),
                other,
                objects.place.shown,
                STORES,
            )
            return 0
        await objects.use("sweep", lambda place: place.tidy())
        keep = self._claims.keep
        if not self._link.store.keeps_records():
            keep = max(keep, WITHOUT_RECORDS)
        deleted = 0
        async for old in self._older(objects, now - keep):
            gone = await self._unknown(old)
            if gone:
                await asyncio.sleep(self._again)
                gone = await self._unknown(gone)
            for key in gone:
                deleted += await objects.use("sweep", functools.partial(_delete_old, key, now - keep))
        if deleted:
            _logger.info("%s without a job removed", counted(deleted, "object"))
        return deleted

    async def _is_due(self, objects: ObjectLink) -> bool:
        """Tell whether there are objects, and no process has swept lately."""
        if not [
            page async for page in objects.parts(lambda place: _first(place.pages(CLAIMS)), operation="sweep") if page
        ]:
            return False
        # At each look: another store whose sweep is due sooner must know of this one.
        name = self._name()
        now = await self._marked(objects, STORES + _digest(name), name.encode())
        before = await objects.use("sweep", lambda place: place.look(self._mark))
        return before is None or now - before.modified >= EVERY

    async def _marked(self, objects: ObjectLink, key: str, body: bytes = b"") -> float:
        """Put an object; return its time, by the clock of the object store: this host's may be another one."""
        await objects.use("sweep", lambda place: place.put(key, body, ""))
        found = await objects.use("sweep", lambda place: place.look(key))
        return 0.0 if found is None else found.modified  # 0: nothing is old enough then

    def _name(self) -> str:
        """Return what tells the store of the jobs from others, also from a file of the same path on another host."""
        try:
            return f"{self._owner} (inode {Path(self._owner).stat().st_ino})"
        except (OSError, ValueError):
            return self._owner

    async def _other_store(self, objects: ObjectLink, now: float) -> str:
        """Return the name of another store of jobs that uses this place, "" if there is none."""
        own = STORES + _digest(self._name())
        async for page in objects.parts(lambda place: place.pages(STORES), operation="sweep"):
            for each in page:
                if each.key != own and each.modified >= now - GONE:
                    return (await objects.use("sweep", functools.partial(_bytes_of, each.key))).decode(errors="replace")
        return ""

    async def _older(self, objects: ObjectLink, at: float) -> AsyncIterator[list[str]]:
        """Yield the keys of objects of this app's queues that were put before `at`, some at once."""
        kept: list[str] = []
        async for page in objects.parts(lambda place: place.pages(CLAIMS), operation="sweep"):
            kept += [each.key for each in page if each.modified < at and self._is_ours(each)]
            if len(kept) >= 10 * ASKED:
                yield kept
                kept = []
        if kept:
            yield kept

    def _is_ours(self, each: Listed) -> bool:
        job = job_of_key(each.key)
        return job is not None and queue_of(job) in self._queues

    async def _unknown(self, keys: Sequence[str]) -> list[str]:
        """Return the keys whose jobs the store does not know; all of them where it keeps no records."""
        if not self._link.store.keeps_records():
            return list(keys)
        if self._link.store.broker.capabilities.spread:
            # A follow-up may still be on another server than that of its queue: all of them must answer.
            await self._link.once(lambda store: store.broker.stats(()))
        jobs = sorted({job for key in keys if (job := job_of_key(key)) is not None})
        known: set[str] = set()
        for start in range(0, len(jobs), ASKED):
            some = jobs[start : start + ASKED]
            records = await self._link.once(lambda store, some=some: store.records.get(some))  # type: ignore[misc]
            # Of a follow-up that was not stored, its id leads to another job.
            known |= {job for job, record in zip(some, records, strict=True) if record is not None and record.id == job}
        return [key for key in keys if job_of_key(key) not in known]


async def _bytes_of(key: str, place: ObjectPlace) -> bytes:
    return await place.get(key)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]


async def _delete_old(key: str, at: float, place: ObjectPlace) -> bool:
    """Delete an object unless it was put again since `at`, for a job that has come very late; tell whether it was."""
    found = await place.look(key)
    if found is None or found.modified >= at:
        return False
    await place.delete(key)
    return True


async def _first(pages: AsyncIterator[list[Listed]]) -> AsyncIterator[list[Listed]]:
    async for page in pages:
        yield page[:1]
        return
