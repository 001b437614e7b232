"""Taking waiting jobs from one store to another, so that each is always in one of them and never runs in both.

For each batch: hold at the source, adopt (held) at the target, end at the source, and only then let it wait in line at
the target. A crash between two steps leaves jobs held, which nobody runs, until the move is repeated.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from typing import TYPE_CHECKING, Final
from uuid import uuid4

from msgspec import Struct, field, structs

from outlast.core.errors import ConfigurationError
from outlast.core.message import Holder, State
from outlast.core.moving import Adopt, Hold, Moved, Parcel, Unhold
from outlast.core.store.control import Pause
from outlast.core.store.records import Query

if TYPE_CHECKING:
    from outlast.core.store.store import Store

__all__ = ["MoveOutcome", "MovePlan", "Mover", "MoveProgress"]

BATCH: Final = 250
"""Jobs of one round: they are held at most for its four steps, and hold up other writers only for milliseconds."""
WAITING: Final[tuple[State, ...]] = ("scheduled", "ready", "parked")
LOOK: Final = 1.0
"""Seconds between looks at jobs that still run."""
_RECOVER: Final = 1000


class MovePlan(Struct, frozen=True):
    """What moves: from where to where, as people read it, and of which queues (none named: all)."""

    source: str
    target: str
    queues: tuple[str, ...] = ()

    @property
    def going(self) -> str:
        """The reason of a job that is held at the source."""
        return f"moving to {self.target}"

    @property
    def coming(self) -> str:
        """The reason of a job that is held at the target."""
        return f"moving from {self.source}"


class MoveProgress(Struct):
    """How far a move has come. refused: by the answer's word, how many, and one of them."""

    moved: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = {}
    skip: set[str] = set()


class MoveOutcome(Struct):
    """What a move came to. recovered: jobs of an earlier move; left: what has not ended at the source."""

    recovered: int = 0
    left: dict[State, int] = {}
    interrupted: bool = False


class Mover:
    """One move between two open stores."""

    def __init__(self, move: MovePlan, source: Store, target: Store) -> None:
        self._move = move
        self._source = source
        self._target = target
        self._holder = Holder(uuid4().hex, "outlast move")
        self.progress = MoveProgress()

    async def run(self, stop: asyncio.Event, *, wait: bool) -> MoveOutcome:
        """Move until nothing waits at the source, or `stop`. wait: also wait for what runs, and take its retries."""
        await self.pause()
        outcome = MoveOutcome(recovered=await self.recover())
        while not stop.is_set():
            went = await self.step(stop.is_set)
            running = await self.running()
            if wait and running and not stop.is_set():
                await self._until_one_ends(running, stop)
            elif not went:
                break
        outcome.left = await self.left()
        outcome.interrupted = stop.is_set()
        return outcome

    async def _until_one_ends(self, running: list[str], stop: asyncio.Event) -> None:
        """Wait for jobs at the source, a second at most: one that is to be retried does not end."""
        ended = asyncio.ensure_future(self._source.records.wait(running[:1], LOOK))
        stopped = asyncio.ensure_future(stop.wait())
        await asyncio.wait((ended, stopped), return_when=asyncio.FIRST_COMPLETED)
        for each in (ended, stopped):
            each.cancel()
        await asyncio.gather(ended, stopped, return_exceptions=True)

    async def queues(self) -> list[str]:
        """Return the queues of the source that are meant; raise ConfigurationError for one that is not there."""
        known = sorted(await self._source.broker.stats(()))
        if missing := sorted(set(self._move.queues) - set(known)):
            raise ConfigurationError(
                f"move: no queue {missing[0]!r} in {self._move.source}: there are {', '.join(known) or 'none'}"
            )
        return [name for name in known if not self._move.queues or name in self._move.queues]

    async def pause(self) -> None:
        """Let nobody take another job at the source. It stays so: the jobs live elsewhere from now on."""
        await self._source.control.apply([Pause(name) for name in await self.queues()])

    async def recover(self) -> int:
        """Let in line what an earlier move has ended at the source and died before it said so at the target."""
        done = 0
        held = [each async for each in _pages(self._target, Query(states=("waiting",), reason=self._move.coming))]
        for start in range(0, len(held), _RECOVER):
            ids = held[start : start + _RECOVER]
            records = await self._source.records.get(ids)
            # What has not ended at the source goes through all four steps again; what ended there otherwise stays held.
            ready = [
                id_ for id_, record in zip(ids, records, strict=True) if record is None or record.reason == "moved"
            ]
            done += sum(answer.ok for answer in await self._target.control.apply([Unhold(each) for each in ready]))
        return done

    async def step(self, stopped: Callable[[], bool]) -> int:
        """Move all that waits now, round by round, until `stopped`; return how many went."""
        # The jobs of dead holders wait again.
        await self._source.broker.claim({}, limit=1, holder=self._holder, lease=1, wait=0)
        looks: tuple[tuple[tuple[State, ...], str | None], ...] = ((("waiting",), self._move.going), (WAITING, None))
        before = self.progress.moved
        for queue in await self.queues():
            for states, reason in looks:
                query = Query(queue=queue, states=states, reason=reason)
                ids = [each async for each in _pages(self._source, query) if each not in self.progress.skip]
                ids.reverse()  # the oldest first, for whoever works at the target already
                for start in range(0, len(ids), BATCH):
                    if stopped():
                        return self.progress.moved - before
                    await self._round(ids[start : start + BATCH])
        return self.progress.moved - before

    async def left(self) -> dict[State, int]:
        """Count what has not ended at the source."""
        total: Counter[State] = Counter()
        for queue in await self.queues():
            total.update(await self._source.records.count(Query(queue=queue, states=(*WAITING, "running", "waiting"))))
        return dict(total)

    async def running(self) -> list[str]:
        """Return jobs that run at the source."""
        found: list[str] = []
        for queue in await self.queues():
            found += [id_ async for id_ in _pages(self._source, Query(queue=queue, states=("running",)))]
        return found

    async def _round(self, ids: Sequence[str]) -> None:
        going, coming = self._move.going, self._move.coming
        held = await self._source.control.apply([Hold(each, going) for each in ids])
        parcels: list[Parcel] = [answer.parcel for answer in held if answer.parcel is not None]
        # From here on nobody runs these jobs, at either place, until the last step.
        adopted = await self._target.control.apply([Adopt(each, coming) for each in parcels])
        taken = [each.message.id for each, answer in zip(parcels, adopted, strict=True) if answer.ok]
        refused = [
            (each.message.id, answer.why) for each, answer in zip(parcels, adopted, strict=True) if not answer.ok
        ]
        # Durable at the target: now it may end at the source.
        ended = await self._source.control.apply(
            [*(Moved(each) for each in taken), *(Unhold(each) for each, _ in refused)]
        )
        # Ended at the source: now somebody may run it at the target. Not so one that was put back in line there.
        gone = [id_ for id_, answer in zip(taken, ended[: len(taken)], strict=True) if answer.why != "not-waiting"]
        await self._target.control.apply([Unhold(each) for each in gone])
        self.progress.moved += len(gone)
        for id_, why in refused:
            self.progress.refused[why] += 1
            self.progress.examples.setdefault(why, id_)
            self.progress.skip.add(id_)


async def _pages(store: Store, query: Query) -> AsyncIterator[str]:
    query = structs.replace(query, limit=1000)
    while True:
        page = await store.records.find(query)
        for record in page.records:
            yield record.id
        if page.cursor is None:
            return
        query = structs.replace(query, cursor=page.cursor)
