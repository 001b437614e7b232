"""Moves waiting jobs from one store to another, so that each is always in one of them and never runs in both.

For each batch: hold at the source, adopt (held) at the target, end at the source, and only then release at the target.
A crash between two steps leaves jobs held, and no worker runs them, until the move is repeated.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final
from uuid import uuid4

from msgspec import Struct, field, structs

from outlast.admin.bulk import matching
from outlast.core.claims import claim_in
from outlast.core.errors import ConfigurationError, OutlastError
from outlast.core.message import Holder, State
from outlast.core.moving import Adopt, Hold, Moved, Parcel, Unhold
from outlast.core.store.control import Pause
from outlast.core.store.records import Query

if TYPE_CHECKING:
    from outlast.core.store.store import Store
    from outlast.toolkit.objects.claims import Claims

__all__ = ["NO_OBJECT", "MoveOutcome", "MovePlan", "Mover", "MoveProgress"]

NO_OBJECT: Final = "no-object"
"""Why a job was not moved whose arguments cannot be fetched from the object store."""
BATCH: Final = 250
"""Jobs of one round: they are held for its four steps at most, and each step delays other writers by milliseconds."""
_WAITING: Final[tuple[State, ...]] = ("scheduled", "ready", "parked")
_POLL: Final = 1.0
"""Seconds between checks of running jobs."""
_RECOVER: Final = 1000


class MovePlan(Struct, frozen=True):
    """The source and target of a move, by `StoreKind.identity`, and its queues; no queues: all."""

    source: str
    target: str
    queues: tuple[str, ...] = ()

    @property
    def source_reason(self) -> str:
        """The reason of a job that is held at the source."""
        return f"moving to {self.target}"

    @property
    def target_reason(self) -> str:
        """The reason of a job that is held at the target."""
        return f"moving from {self.source}"


class MoveProgress(Struct):
    """The progress of a move. refused: counts by the answer's `why`; examples: one id of each; skip: refused ids."""

    moved: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = {}
    skip: set[str] = set()


class MoveOutcome(Struct):
    """The result of a move. recovered: jobs of an earlier move; left: unfinished jobs at the source, by state."""

    recovered: int = 0
    left: dict[State, int] = {}
    interrupted: bool = False


class Mover:
    """One move between two open stores. claims: where large arguments of the source are; they move with their jobs.

    The target may have another object store, and the sweep of the source would not know the jobs any more.
    """

    def __init__(self, plan: MovePlan, source: Store, target: Store, claims: Claims | None = None) -> None:
        self._plan = plan
        self._source = source
        self._target = target
        self._claims = claims
        self._holder = Holder(uuid4().hex, "outlast move")
        self.progress = MoveProgress()

    async def run(self, stop: asyncio.Event, *, wait: bool) -> MoveOutcome:
        """Move until no jobs wait at the source, or `stop`. wait: wait for running jobs too, and move their retries."""
        await self.pause()
        outcome = MoveOutcome(recovered=await self.recover())
        while not stop.is_set():
            moved = await self.step(stop.is_set)
            running = await self.running()
            if wait and running and not stop.is_set():
                await self._until_one_ends(running, stop)
            elif not moved:
                break
        outcome.left = await self.left()
        outcome.interrupted = stop.is_set()
        return outcome

    async def _until_one_ends(self, running: list[str], stop: asyncio.Event) -> None:
        """Wait for the end of a running job, a second at most: a job that is retried does not end."""
        ended = asyncio.ensure_future(self._source.records.wait(running[:1], _POLL))
        stopped = asyncio.ensure_future(stop.wait())
        await asyncio.wait((ended, stopped), return_when=asyncio.FIRST_COMPLETED)
        for each in (ended, stopped):
            each.cancel()
        await asyncio.gather(ended, stopped, return_exceptions=True)

    async def queues(self) -> list[str]:
        """Return the queues to move; raise ConfigurationError if the source lacks one that is named."""
        known = sorted(await self._source.broker.stats(()))
        if missing := sorted(set(self._plan.queues) - set(known)):
            raise ConfigurationError(
                f"move: no queue {missing[0]!r} in {self._plan.source}: there are {', '.join(known) or 'none'}"
            )
        return [name for name in known if not self._plan.queues or name in self._plan.queues]

    async def pause(self) -> None:
        """Pause the queues at the source. They stay paused, since their jobs run at the target from now on."""
        await self._source.control.apply([Pause(name) for name in await self.queues()])

    async def recover(self) -> int:
        """Release jobs at the target that an earlier, interrupted move has ended at the source; return their number."""
        done = 0
        query = Query(states=("waiting",), reason=self._plan.target_reason)
        held = [each.id async for each in matching(self._target.records, query)]
        for start in range(0, len(held), _RECOVER):
            ids = held[start : start + _RECOVER]
            records = await self._source.records.get(ids)
            # A job that has not ended at the source goes through all four steps again; one that ended there in another
            # way stays held.
            ready = [
                id_ for id_, record in zip(ids, records, strict=True) if record is None or record.reason == "moved"
            ]
            done += sum(answer.ok for answer in await self._target.control.apply([Unhold(each) for each in ready]))
        return done

    async def step(self, stopped: Callable[[], bool]) -> int:
        """Move the jobs that wait now, round by round, until `stopped`; return the number of moved jobs."""
        # This claim makes the jobs of dead holders ready again.
        await self._source.broker.claim({}, limit=1, holder=self._holder, lease=1, wait=0)
        held: tuple[State, ...] = ("waiting",)
        passes = ((held, self._plan.source_reason), (_WAITING, None))
        before = self.progress.moved
        for queue in await self.queues():
            for states, reason in passes:
                query = Query(queue=queue, states=states, reason=reason)
                found = [each.id async for each in matching(self._source.records, query)]
                ids = [each for each in found if each not in self.progress.skip]
                ids.reverse()  # the oldest first: workers of the target start them at once
                for start in range(0, len(ids), BATCH):
                    if stopped():
                        return self.progress.moved - before
                    await self._round(ids[start : start + BATCH])
        return self.progress.moved - before

    async def left(self) -> dict[State, int]:
        """Return the unfinished jobs at the source, by state."""
        total: Counter[State] = Counter()
        for queue in await self.queues():
            total.update(await self._source.records.count(Query(queue=queue, states=(*_WAITING, "running", "waiting"))))
        return dict(total)

    async def running(self) -> list[str]:
        """Return the running jobs at the source."""
        found: list[str] = []
        for queue in await self.queues():
            query = Query(queue=queue, states=("running",))
            found += [each.id async for each in matching(self._source.records, query)]
        return found

    async def _whole(self, parcel: Parcel) -> Parcel | None:
        """Return a parcel with its arguments, None where they cannot be fetched now."""
        if claim_in(parcel.message.args) is None:
            return parcel
        if self._claims is None:
            return None
        try:
            args = await self._claims.check_out(parcel.message.id, parcel.message.args)
        except OutlastError:
            return None
        return structs.replace(parcel, message=structs.replace(parcel.message, args=args))

    async def _round(self, ids: Sequence[str]) -> None:
        held = await self._source.control.apply([Hold(each, self._plan.source_reason) for each in ids])
        parcels: list[Parcel] = []
        refused: list[tuple[str, str]] = []
        for answer in held:
            if answer.parcel is not None and (whole := await self._whole(answer.parcel)) is not None:
                parcels.append(whole)
            elif answer.parcel is not None:
                refused.append((answer.parcel.message.id, NO_OBJECT))
        # From here on no worker of either store runs these jobs, until the last step.
        adopted = await self._target.control.apply([Adopt(each, self._plan.target_reason) for each in parcels])
        accepted = [each.message.id for each, answer in zip(parcels, adopted, strict=True) if answer.ok]
        refused += [
            (each.message.id, answer.why) for each, answer in zip(parcels, adopted, strict=True) if not answer.ok
        ]
        # Durable at the target: only now may the jobs end at the source, else a crash would lose them.
        ended = await self._source.control.apply(
            [*(Moved(each) for each in accepted), *(Unhold(each) for each, _ in refused)]
        )
        # Ended at the source: only now may they run at the target. A job that put-back released at the source
        # (why is "not-waiting") runs there, and must stay held at the target.
        answers = zip(accepted, ended[: len(accepted)], strict=True)
        moved = [id_ for id_, answer in answers if answer.why != "not-waiting"]
        await self._target.control.apply([Unhold(each) for each in moved])
        self.progress.moved += len(moved)
        for id_, why in refused:
            self.progress.refused[why] += 1
            self.progress.examples.setdefault(why, id_)
            self.progress.skip.add(id_)
