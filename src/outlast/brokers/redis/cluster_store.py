"""The store on a Cluster: each queue has a store of its own, on one of the servers; what spans them is joined here."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, Final, TypeVar

from msgspec import structs

from outlast.brokers.redis.claim import ClaimReply, ClaimRequest
from outlast.brokers.redis.cluster_claim import ClusterClaim
from outlast.brokers.redis.keyspace import Keyspace
from outlast.brokers.redis.queue_directory import QueueDirectory
from outlast.brokers.redis.queue_store import QueueStore
from outlast.brokers.redis.relay import Relay
from outlast.brokers.redis.store_base import BaseRedisStore
from outlast.clients.redis.address import Address
from outlast.core.clock import Clock
from outlast.core.errors import StoreError, StoreUnavailable, StoreUncertain
from outlast.core.message import Fence, Holder, Message, State
from outlast.core.moving import Adopt
from outlast.core.schedule import Amendment, ScheduleAdvance, ScheduleEntry, ScheduleRecord
from outlast.core.settlement import Finish, Lost, Note, Published, Reschedule, Settlement
from outlast.core.store.broker import QueueStats
from outlast.core.store.control import Adjust, Answer, Command, Pause, Prune, Purge
from outlast.core.store.records import JobRecord, Page, Query
from outlast.core.topology import Queue, Topology, adjusted

__all__ = ["ClusterStore"]

S = TypeVar("S")
T = TypeVar("T")


class ClusterStore(BaseRedisStore):
    """The store over all queues of a Cluster: a call is done queue by queue at the same time, each of them as one step.

    A call of which one queue fails is done for the others, and then raises: repeating it is safe, as it always is.
    """

    def __init__(self, address: Address, *, clock: Clock, max_body: int, now: Callable[[], float] | None) -> None:
        super().__init__(address, clock=clock, max_body=max_body)

        def is_open() -> bool:
            return self._open

        def make(queue: str) -> QueueStore:
            return QueueStore(Keyspace(self._client, address.namespace, now, queue=queue), max_body, is_open)

        self._queues: Final = QueueDirectory(make, self._notifier.notify)
        self._relay: Final = Relay(self._queues)
        self._claims: Final = ClusterClaim(self._queues, is_open)
        self._lost: dict[str, list[Lost]] = {}
        """By holder: of what it lost where other queues could not be asked."""

    async def _start(self) -> None:
        await self._queues.open()

    async def _stop(self) -> None:
        await self._claims.close()
        await self._relay.close()
        await self._queues.close()

    async def declare(self, topology: Topology) -> None:
        """Make these queues known with their bounds, and have claims take what is parked of these kinds."""
        await self._queues.declare(topology)
        self._set_kinds(topology.kinds)

    async def claim_now(self, request: ClaimRequest) -> ClaimReply:
        """Hand out what may run now. A call that is cancelled has handed out nothing."""
        reply = await self._claims.claim_now(request)
        self._relay.look_at(name for name, most in request.demand.items() if most > 0)
        return reply

    async def publish(self, messages: Sequence[Message]) -> list[Published]:
        """Keep the messages; the answers align with the input.

        Raise what a queue's server says when nothing of them is kept, StoreUncertain when some may be.
        """
        queues = {message.queue for message in messages}
        if len(queues) == 1:
            return await (await self._queues.used(messages[0].queue)).publish(messages)

        async def keep(queue: str, some: list[Message]) -> list[Published]:
            return await (await self._queues.used(queue)).publish(some)

        groups = _groups(messages, lambda message: message.queue)
        answers = await _all(keep(queue, [messages[at] for at in some]) for queue, some in groups.items())
        errors = [each for each in answers if isinstance(each, BaseException)]
        if errors:
            if len(errors) == len(answers) and not any(isinstance(each, StoreUncertain) for each in errors):
                raise errors[0]
            if all(isinstance(each, StoreError) for each in errors):
                names = [queue for queue, each in zip(groups, answers, strict=True) if isinstance(each, BaseException)]
                raise StoreUncertain(f"of this call those of {', '.join(names)} are not kept: {errors[0]}") from errors[
                    0
                ]
            raise next(each for each in errors if not isinstance(each, StoreError))
        return _aligned(groups.values(), answers, len(messages))

    async def settle(self, settlements: Sequence[Settlement]) -> list[Lost]:
        """Apply each settlement whose fence still counts, with its follow-ups; return the superseded.

        Those of other queues are kept with the settlement, and are on their way when this returns.
        """
        return await self._fenced(settlements, self._settle)

    async def _settle(self, store: QueueStore, settlements: Sequence[Settlement]) -> list[Lost]:
        lost = await store.settle(settlements)
        if any(
            isinstance(each, Finish | Reschedule) and any(item.queue != store.keyspace.queue for item in each.then)
            for each in settlements
        ):
            await self._relay.carry(store)
        else:
            self._relay.look_at((settlements[0].fence.queue,))
        return lost

    async def save(self, notes: Sequence[Note]) -> list[Lost]:
        """Keep notes about running jobs; return the superseded."""
        return await self._fenced(notes, lambda store, some: store.save(some))

    async def _fenced(
        self, items: Sequence[Any], do: Callable[[QueueStore, list[Any]], Awaitable[list[Lost]]]
    ) -> list[Lost]:
        """Do something with items that have a fence, queue by queue; return the superseded in the items' order."""

        async def one(queue: str, some: list[Any]) -> list[Lost]:
            return await do(await self._queues.used(queue), some)

        groups = _groups(items, lambda item: item.fence.queue)
        answers = _raised(await _all(one(queue, [items[at] for at in some]) for queue, some in groups.items()))
        if len(answers) == 1:
            return answers[0]
        lost: dict[Fence, Lost] = {each.fence: each for some in answers for each in some}
        return [lost[item.fence] for item in items if item.fence in lost] if lost else []

    async def extend(self, holder: Holder, *, lease: float) -> list[Lost]:
        """Renew all that the holder holds, in every queue; raise after that what one of them says.

        What it lost elsewhere is then returned by the next call.
        """

        async def one(name: str) -> list[Lost]:
            if self._queues.away(name):  # to wait for it again would make the next renewal of the others late
                raise StoreUnavailable(f"queue {name!r} is away")
            try:
                return await (await self._opened(name)).extend(holder, lease=lease)
            except StoreUnavailable as error:
                self._queues.record_error(name, error)
                raise

        names = await self._queues.names()
        answers = await _all(one(name) for name in names)
        self._relay.look_at(names)
        lost = self._lost.pop(holder.id, [])
        lost += [each for some in answers if not isinstance(some, BaseException) for each in some]
        try:
            _raised(answers)
        except StoreError:
            self._lost[holder.id] = [each for each in lost if each.why == "superseded"]
            raise
        return lost

    async def forfeit(self, holder: Holder, *, crashed: bool) -> int:
        """Make all that a dead holder held ready, in every queue; return how many."""
        self._lost.pop(holder.id, None)

        async def one(name: str) -> int:
            return await (await self._opened(name)).forfeit(holder, crashed=crashed)

        return sum(_raised(await _all(one(name) for name in await self._queues.names())))

    async def stats(self, queues: Sequence[str]) -> dict[str, QueueStats]:
        """Count these queues, all known ones when empty."""

        async def one(name: str) -> dict[str, QueueStats]:
            store = await self._queues.known(name)
            return {} if store is None else await store.stats([name])

        found: dict[str, QueueStats] = {}
        for each in _raised(await _all(one(name) for name in queues or await self._queues.names())):
            found |= each
        return found

    async def get(self, ids: Sequence[str]) -> list[JobRecord | None]:
        """Return the records, aligned with `ids`."""

        async def look(queue: str, some: list[str]) -> list[JobRecord | None]:
            store = await self._queues.known(queue)
            return [None] * len(some) if store is None else await store.get(some)

        groups = _groups(ids, _queue_of)
        answers = _raised(await _all(look(queue, [ids[at] for at in some]) for queue, some in groups.items()))
        return _aligned(groups.values(), answers, len(ids))

    async def watch(self, waiter: str, ids: Sequence[str]) -> None:
        """Have the servers notify `waiter` when one of these jobs ends."""

        async def ask(queue: str, some: list[str]) -> None:
            store = await self._queues.known(queue)
            if store is not None:
                await store.watch(waiter, some)

        groups = _groups(ids, _queue_of)
        _raised(await _all(ask(queue, [ids[at] for at in some]) for queue, some in groups.items()))

    async def find(self, query: Query) -> Page:
        """Return one page: one queue after the other by name, of each the newest acceptance first."""
        names = [query.queue] if query.queue is not None else await self._queues.names()
        first, _, cursor = (query.cursor or "").partition(":")
        found: list[JobRecord] = []
        for name in names:
            store = await self._queues.known(name) if name >= first else None
            if store is None:
                continue
            left = query.limit - len(found)
            after = cursor if name == first and cursor else None
            page = await store.find(structs.replace(query, queue=name, cursor=after, limit=max(1, left)))
            if left <= 0 and page.records:  # it was only asked whether there is one
                return Page(found, f"{name}:")
            found += page.records
            if page.cursor is not None:
                return Page(found, f"{name}:{page.cursor}")
        return Page(found)

    async def kinds(self, queue: str) -> dict[str, int]:
        """Count the jobs of a queue that have not ended, by kind."""
        store = await self._queues.known(queue)
        return {} if store is None else await store.kinds(queue)

    async def count(self, query: Query) -> dict[State, int]:
        """Count matching records by state."""

        async def one(name: str) -> dict[State, int]:
            store = await self._queues.known(name)
            return {} if store is None else await store.count(structs.replace(query, queue=name))

        counts: dict[State, int] = {}
        names = [query.queue] if query.queue is not None else await self._queues.names()
        for each in _raised(await _all(one(name) for name in names)):
            for state, number in each.items():
                counts[state] = counts.get(state, 0) + number
        return counts

    async def apply(self, commands: Sequence[Command]) -> list[Answer]:
        """Apply the commands in order: those in sequence on one queue in one step, one on all queues in many."""
        for command in commands:
            if isinstance(command, Adjust):
                store = await self._queues.known(command.queue)
                if store is None:
                    adjusted(Queue(name=command.queue), command.changes)
                else:
                    await store.check_adjust(command)
        answers: list[Answer] = []
        run: list[Command] = []
        for command in commands:
            if run and _named(command) != _named(run[0]):
                answers += await self._apply(run)
                run = []
            run.append(command)
        return answers + await self._apply(run)

    async def _apply(self, run: list[Command]) -> list[Answer]:
        """Apply commands that are all on the same queue, or all on every one."""
        if not run:
            return []
        queue = _named(run[0])
        if queue is None:
            return [await self._everywhere(command) for command in run]
        adopts = any(isinstance(command, Adopt) for command in run)
        store = await self._queues.used(queue) if adopts else await self._queues.known(queue)
        if store is not None:
            return await store.apply(run)
        return [
            Answer(True) if isinstance(command, Purge) and command.id is None else Answer(False, why="unknown")
            for command in run
        ]

    async def _everywhere(self, command: Command) -> Answer:
        if isinstance(command, Purge) and command.key is None:
            return Answer(False, why="nothing-named")

        async def one(name: str) -> int:
            if isinstance(command, Purge):
                here: Command = structs.replace(command, queue=name)
            else:
                here = command
            (answer,) = await (await self._opened(name)).apply([here])
            return answer.changed

        return Answer(True, sum(_raised(await _all(one(name) for name in await self._queues.names()))))

    async def schedules(self) -> list[ScheduleRecord]:
        """Return all schedules by name."""
        return await (await self._queues.root()).schedules()

    async def enlist(self, entries: Sequence[ScheduleEntry]) -> list[ScheduleRecord]:
        """Declare schedules; raise ConfigurationError before anything has changed."""
        return await (await self._queues.root()).enlist(entries)

    async def amend(self, changes: Sequence[Amendment]) -> list[Answer]:
        """Change schedules, in order."""
        return await (await self._queues.root()).amend(changes)

    async def schedule_changes(self) -> int:
        """Return how often people changed a schedule."""
        return await (await self._queues.root()).schedule_changes()

    async def advance(self, moves: Sequence[ScheduleAdvance]) -> list[bool]:
        """Take ticks, and keep their messages in the same step; they are on their way when this returns."""
        root = await self._queues.root()
        made = await root.advance(moves)
        if any(made):
            await self._relay.carry(root)
        return made

    async def _opened(self, name: str) -> QueueStore:
        """Return the store of a queue whose name is known."""
        return await self._queues.known(name) or await self._queues.used(name)


def _queue_of(id_: str) -> str:
    return id_.partition(".")[0]


def _named(command: Command) -> str | None:
    """Return the queue that a command is about; None for all of them."""
    match command:
        case Pause() | Adjust():
            return command.queue
        case Prune():
            return None
        case Purge():
            return command.queue if command.id is None else _queue_of(command.id)
        case Adopt():
            return command.parcel.message.queue
    return _queue_of(command.id)


def _groups(items: Sequence[S], queue_of: Callable[[S], str]) -> dict[str, list[int]]:
    """Return the positions of items by queue."""
    groups: dict[str, list[int]] = {}
    for at, item in enumerate(items):
        groups.setdefault(queue_of(item), []).append(at)
    return groups


def _aligned(groups: Iterable[list[int]], answers: Sequence[Any], size: int) -> list[Any]:
    """Return answers that came by queue, in the order of what was asked."""
    aligned: list[Any] = [None] * size
    for positions, some in zip(groups, answers, strict=True):
        for at, answer in zip(positions, some, strict=True):
            aligned[at] = answer
    return aligned


async def _all(calls: Iterable[Awaitable[T]]) -> list[T | BaseException]:
    """Return what all of them return or raise, after the last has ended."""
    return await asyncio.gather(*calls, return_exceptions=True)


def _raised(answers: Sequence[T | BaseException]) -> list[T]:
    """Return what was returned; raise the first that was raised."""
    found: list[T] = []
    for each in answers:
        if isinstance(each, BaseException):
            raise each
        found.append(each)
    return found
