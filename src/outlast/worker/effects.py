"""Reads and saves the results of the effects of a job (`ctx.once`), for the runs of a worker."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from concurrent.futures import Future
from typing import Any, TypeVar

from msgspec import Raw

from outlast.core.control_flow import GiveUp
from outlast.core.errors import BodyTooLarge
from outlast.core.settlement import Lost, Note
from outlast.core.store.store import Store
from outlast.core.unreadable import unread_result
from outlast.declare.once import NOTE
from outlast.worker.run import Run

__all__ = ["EffectKeeper", "RunEffects"]

T = TypeVar("T")

Ask = Callable[[Callable[[Store], Awaitable[Any]]], Awaitable[Any]]
"""Calls the store, again and again during an outage."""


class EffectKeeper:
    """Calls the store for the effects of runs, on the loop of the worker. lost: takes superseded fences."""

    def __init__(self, ask: Ask, lost: Callable[[Sequence[Lost]], None]) -> None:
        self._ask = ask
        self._lost = lost
        self._loop = asyncio.get_running_loop()

    def of(self, run: Run) -> RunEffects:
        """Return the effects of a run."""
        return RunEffects(self, run)

    def start(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Start `work` on the loop of the worker, from any thread."""
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    async def read(self, id_: str) -> Raw | None:
        """Return the note of a job."""
        (record,) = await self._ask(lambda store: store.records.get([id_]))
        if record is None:
            return None
        if record.raw_effects is None and (failure := unread_result(record.failures, "effects")) is not None:
            raise GiveUp(f"ctx.once: {failure.message}: the job could repeat what it has done")
        found: Raw | None = record.raw_effects
        return found

    async def save(self, note: Callable[[], Note]) -> None:
        """Save `note()`, computed for each attempt."""
        self._lost(await self._ask(lambda store: store.broker.save([note()])))


class RunEffects:
    """The note of one run (`EffectsPort`)."""

    def __init__(self, keeper: EffectKeeper, run: Run) -> None:
        self._keeper = keeper
        self._run = run
        self._latest = Raw(b"{}")
        self._saving = asyncio.Lock()

    def read(self) -> Future[Raw | None]:
        """Return the note of the runs before."""
        return self._keeper.start(self._keeper.read(self._run.delivery.message.id))

    def keep(self, note: Raw) -> Future[None]:
        """Save it now; if the run ends before that, its settlement saves it."""
        size, limit = len(bytes(note)), self._run.host.max_body
        if size > limit:
            raise BodyTooLarge(self._run.delivery.message.kind, size, limit)
        self._latest = note
        self._run.notes = {**(self._run.notes or {}), NOTE: note}
        return self._keeper.start(self._save())

    async def _save(self) -> None:
        async with self._saving:  # one by one, the latest each time: a save that is repeated must not undo a later one
            await self._keeper.save(lambda: Note(self._run.delivery.fence, NOTE, self._latest))
        notes = self._run.notes
        if notes is not None and notes.get(NOTE) is self._latest:
            self._run.notes = {name: kept for name, kept in notes.items() if name != NOTE} or None
