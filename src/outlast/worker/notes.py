"""Saves the notes of running jobs (progress): the last value of each, at most a few times a second."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from contextvars import Context
from typing import Final

from outlast.aio.tasks import cancel
from outlast.core.errors import StoreError
from outlast.core.settlement import Lost, Note
from outlast.worker.run import Run
from outlast.worker.store_link import StoreLink

__all__ = ["NoteKeeper"]

_PAUSE: Final = 0.25


class NoteKeeper:
    """Collects the notes of runs and saves them together. During an outage of the store, they are saved later.

    The settler saves the last notes of a run with its settlement, so they are never lost.
    """

    def __init__(self, link: StoreLink, lost: Callable[[Sequence[Lost]], None]) -> None:
        self._link = link
        self._lost = lost
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        self._changed: dict[Run, None] = {}
        self._task: asyncio.Task[None] | None = None

    def noted(self, run: Run) -> None:
        """Record that the run has a new note; from any thread."""
        if threading.get_ident() == self._thread:
            self._mark(run)
        else:
            self._loop.call_soon_threadsafe(self._mark, run)

    async def close(self) -> None:
        """Stop saving."""
        if self._task is not None:
            await cancel(self._task)

    def _mark(self, run: Run) -> None:
        if run.ended:
            return
        self._changed[run] = None
        if self._task is None:
            self._task = self._loop.create_task(self._work(), name="outlast notes", context=Context())

    async def _work(self) -> None:
        try:
            while self._changed:
                await self.step()
                await asyncio.sleep(_PAUSE)
        finally:
            self._task = None

    async def step(self) -> None:
        """Save the new notes."""
        changed, self._changed = self._changed, {}
        notes: list[Note] = []
        for run in changed:
            if not run.ended and run.notes:
                notes += [Note(run.delivery.fence, name, value) for name, value in run.notes.items()]
                run.notes = None
        if not notes:
            return
        try:
            self._lost(await self._link.once(lambda store: store.broker.save(notes)))
        except StoreError:
            # Do not retry at once: the next value replaces this one, and the settlement saves the last one.
            for run in changed:
                if run.notes is None:
                    run.notes = {note.name: note.value for note in notes if note.fence == run.delivery.fence}
                    self._changed.setdefault(run)
