"""The store on a Cluster: each queue has its own keyspace on one server; calls over several queues are joined here."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from itertools import groupby
from typing import Any, Final, TypeVar

from msgspec import structs

from outlast.brokers.expansion import Expansion
from outlast.brokers.redis.claim import ClaimReply, ClaimRequest
from outlast.brokers.redis.cluster_claim import ClusterClaim
from outlast.brokers.redis.cluster_history import ClusterHistory
from outlast.brokers.redis.keyspace import Keyspace
from outlast.brokers.redis.queue_directory import QueueDirectory
from outlast.brokers.redis.queue_store import QueueStore
from outlast.brokers.redis.relay import Relay
from outlast.brokers.redis.store_base import BaseRedisStore
from outlast.clients.redis.address import Address
from outlast.core.clock import Clock
from outlast.core.errors import StoreError, StoreUnavailable, StoreUncertain
from outlast.core.exchanges.values import Binding, Bindings, ExchangeEvent, Routed
from outlast.core.guards.record import GuardRecord, GuardsView
from outlast.core.message import Fence, Holder, Message, State
from outlast.core.moving import Adopt
from outlast.core.schedule import Amendment, ScheduleAdvance, ScheduleEntry, ScheduleRecord
from outlast.core.select import wanted
from outlast.core.settlement import Finish, Lost, Note, Published, Reschedule, Settlement
from outlast.core.store.broker import QueueStats
from outlast.core.store.control import Adjust, Answer, Command, Pause, Prune, Purge
from outlast.core.store.records import JobRecord, Page, Query
from outlast.core.store.totals import Outcome
from outlast.core.topology import Queue, Topology, adjusted

__all__ = ["ClusterStore"]

S = TypeVar("S")
T = TypeVar("T")


class ClusterStore(ClusterHistory, BaseRedisStore):
    """The store of all queues of a Cluster. A call runs in all its queues in parallel, in each queue as one step.

    If one queue fails, the call is done for the others and then raises; repeating a call is always safe.
    """

    def __init__(self, address: Address, *, clock: Clock, max_body: int, now: Callable[[], float] | None) -> None:
        super().__init__(address, clock=clock, max_body=max_body)

        def is_open() -> bool:
            return self._open

        def make(queue: str) -> QueueStore:
            return QueueStore(Keyspace(self._client, address.namespace, now, queue=queue), max_body, is_open)

        self._queues: Final = QueueDirectory(make, self._notifier.notify)
        self._root = self._queues.root
        self._relay: Final = Relay(self._queues)
        self._claims: Final = ClusterClaim(self._queues, is_open)
        self._expansion: Final = Expansion(self.bindings, self._publish_copies)
        self._lost: dict[str, list[Lost]] = {}
        """By holder: lost jobs of an `extend` that raised because another queue failed."""

    async def _start(self) -> None:
        await self._queues.open()

    async def _stop(self) -> None:
        await self._claims.close()
        await self._relay.close()
        await self._queues.close()

    async def declare(self, topology: Topology) -> None:
        """Set the bounds of these queues, add the bindings, and let claims take parked jobs of these kinds."""
        if topology.exchanges or topology.bindings:
            await self._queues.check_bindings(topology)
        await self._queues.declare(topology)
        if topology.exchanges or topology.bindings:
            await self._queues.bind(topology)
        self._set_kinds(topology.kinds)

    async def claim_now(self, request: ClaimRequest) -> ClaimReply:
        """Hand out the jobs that can run now. A cancelled call hands out none."""
        reply = await self._claims.claim_now(request)
        self._relay.check(wanted(request.demand))
        return reply

    async def publish(self, messages: Sequence[Message]) -> list[Published]:
        """Keep the messages; the answers align with the input.

        Raise the first error if no message is kept, StoreUncertain if some may be kept.
        """
        if len({message.queue for message in messages}) == 1:
            return await (await self._queues.used(messages[0].queue)).publish(messages)
        groups = _groups(messages, lambda message: message.queue)

        async def publish_group(queue: str) -> list[Published]:
            return await (await self._queues.used(queue)).publish(groups[queue])

        results = await _results(map(publish_group, groups))
        errors = {queue: each for queue, each in zip(groups, results, strict=True) if isinstance(each, BaseException)}
        if errors:
            first = next(iter(errors.values()))
            if len(errors) == len(groups) and not any(isinstance(each, StoreUncertain) for each in errors.values()):
                raise first
            for error in errors.values():
                if not isinstance(error, StoreError):
                    raise error
            raise StoreUncertain(f"of this call those of {', '.join(errors)} are not kept: {first}") from first
        answers = dict(zip(groups, map(iter, _raised(results)), strict=True))
        return [next(answers[message.queue]) for message in messages]

    async def settle(self, settlements: Sequence[Settlement]) -> list[Lost]:
        """Apply each settlement whose fence counts, with its follow-ups; return the superseded ones.

        Follow-ups of other queues are stored with the settlement; the relay moves them when this returns.
        """
        return await self._fenced(settlements, self._settle)

    async def _settle(self, store: QueueStore, settlements: Sequence[Settlement]) -> list[Lost]:
        lost = await store.settle(settlements)
        if any(
            isinstance(each, Finish | Reschedule) and any(item.queue != store.keyspace.queue for item in each.then)
            for each in settlements
        ):
            await self._relay.move(store)
        else:
            self._relay.check((settlements[0].fence.queue,))
        return lost

    async def save(self, notes: Sequence[Note]) -> list[Lost]:
        """Keep notes about running jobs; return the superseded ones."""
        return await self._fenced(notes, lambda store, some: store.save(some))

    async def _fenced(
        self, items: Sequence[Any], do: Callable[[QueueStore, list[Any]], Awaitable[list[Lost]]]
    ) -> list[Lost]:
        """Apply `do` to the items of each queue; return the superseded ones in the order of the items."""
        groups = _groups(items, lambda item: item.fence.queue)

        async def do_group(queue: str) -> list[Lost]:
            return await do(await self._queues.used(queue), groups[queue])

        answers = _raised(await _results(map(do_group, groups)))
        if len(answers) == 1:
            return answers[0]
        lost: dict[Fence, Lost] = {each.fence: each for some in answers for each in some}
        return [lost[item.fence] for item in items if item.fence in lost] if lost else []

    async def extend(self, holder: Holder, *, lease: float) -> list[Lost]:
        """Renew the leases of the holder in every queue; then raise the first error of a queue.

        The jobs lost in the other queues are then returned by the next call.
        """

        async def extend_one(name: str) -> list[Lost]:
            if self._queues.unavailable(name):  # to wait for it again would delay the next renewal of the others
                raise StoreUnavailable(f"queue {name!r} is unavailable")
            try:
                store = await self._queues.known(name)
                return [] if store is None else await store.extend(holder, lease=lease)
            except StoreUnavailable as error:
                self._queues.record_error(name, error)
                raise

        names = await self._queues.names()
        results = await _results(map(extend_one, names))
        self._relay.check(names)
        lost = self._lost.pop(holder.id, [])
        lost += [each for some in results if not isinstance(some, BaseException) for each in some]
        try:
            _raised(results)
        except StoreError:
            self._lost[holder.id] = [each for each in lost if each.why == "superseded"]
            raise
        return lost

    async def forfeit(self, holder: Holder, *, crashed: bool) -> int:
        """Make all jobs of a dead holder ready, in every queue; return their number."""
        self._lost.pop(holder.id, None)
        names = await self._queues.names()
        return sum(await self._each_known(names, lambda store, _: store.forfeit(holder, crashed=crashed)))

    async def tell(self, holder: Holder, queues: Sequence[str], attended: Sequence[str]) -> None:
        """Keep what a holder can do, and a sample of each of `queues`. attended: other queues that it can work for."""

        async def tell_one(name: str) -> None:
            if name in queues:
                await (await self._queues.used(name)).tell(holder, [name])
            elif (store := await self._queues.known(name)) is not None:  # a queue that is only attended is not made
                await store.tell(holder, [])

        available = [name for name in (*queues, *attended) if not self._queues.unavailable(name)]
        _raised(await _results(map(tell_one, available)))

    async def stats(self, queues: Sequence[str]) -> dict[str, QueueStats]:
        """Count these queues, all known ones when empty."""
        stats: dict[str, QueueStats] = {}
        names = queues or await self._queues.names()
        for each in await self._each_known(names, lambda store, name: store.stats([name])):
            stats |= each
        return stats

    async def totals(self, queues: Sequence[str] = ()) -> dict[tuple[str, str, Outcome], int]:
        """Return the number of ended jobs by queue, kind and outcome."""
        found: dict[tuple[str, str, Outcome], int] = {}
        names = queues or await self._queues.names()
        for each in await self._each_known(names, lambda store, name: store.totals([name])):
            found |= each
        return found

    async def get(self, ids: Sequence[str]) -> list[JobRecord | None]:
        """Return the records, aligned with `ids`."""
        groups = _groups(ids, _queue_of)

        async def get(store: QueueStore, queue: str) -> list[tuple[str, JobRecord | None]]:
            return list(zip(groups[queue], await store.get(groups[queue]), strict=True))

        records = dict(pair for some in await self._each_known(groups, get) for pair in some)
        return [records.get(id_) for id_ in ids]

    async def watch(self, waiter: str, ids: Sequence[str]) -> None:
        """Have the servers notify `waiter` when one of these jobs ends."""
        groups = _groups(ids, _queue_of)
        await self._each_known(groups, lambda store, queue: store.watch(waiter, groups[queue]))

    async def find(self, query: Query) -> Page:
        """Return one page: the queues one after the other by name, in each the newest acceptance first."""
        names = [query.queue] if query.queue is not None else await self._queues.names()
        first, _, cursor = (query.cursor or "").partition(":")
        records: list[JobRecord] = []
        for name in names:
            store = await self._queues.known(name) if name >= first else None
            if store is None:
                continue
            left = query.limit - len(records)
            after = cursor if name == first and cursor else None
            page = await store.find(structs.replace(query, queue=name, cursor=after, limit=max(1, left)))
            if left <= 0 and page.records:  # the page is full, and this queue has the next record
                return Page(records, f"{name}:")
            records += page.records
            if page.cursor is not None:
                return Page(records, f"{name}:{page.cursor}")
        return Page(records)

    async def kinds(self, queue: str) -> dict[str, int]:
        """Count the unfinished jobs of a queue by kind."""
        store = await self._queues.known(queue)
        return {} if store is None else await store.kinds(queue)

    async def count(self, query: Query) -> dict[State, int]:
        """Count matching records by state."""
        names = [query.queue] if query.queue is not None else await self._queues.names()
        counts: Counter[State] = Counter()
        for each in await self._each_known(names, lambda store, name: store.count(structs.replace(query, queue=name))):
            counts.update(each)
        return dict(counts)

    async def apply(self, commands: Sequence[Command]) -> list[Answer]:
        """Apply the commands in order: adjacent ones on one queue in one step, one on all queues in many steps."""
        for command in commands:
            if isinstance(command, Adjust):
                store = await self._queues.known(command.queue)
                if store is None:
                    adjusted(Queue(name=command.queue), command.changes)
                else:
                    await store.check_adjust(command)
        answers: list[Answer] = []
        for queue, group in groupby(commands, _command_queue):
            if queue is None:
                answers += [await self._apply_everywhere(command) for command in group]
            else:
                answers += await self._apply(queue, list(group))
        return answers

    async def _apply(self, queue: str, commands: list[Command]) -> list[Answer]:
        """Apply commands on one queue."""
        adopts = any(isinstance(command, Adopt) for command in commands)
        store = await self._queues.used(queue) if adopts else await self._queues.known(queue)
        if store is not None:
            return await store.apply(commands)
        return [
            Answer(True) if isinstance(command, Purge) and command.id is None else Answer(False, why="unknown")
            for command in commands
        ]

    async def _apply_everywhere(self, command: Command) -> Answer:
        if isinstance(command, Purge) and command.key is None:
            return Answer(False, why="nothing-named")

        def apply_one(store: QueueStore, name: str) -> Awaitable[list[Answer]]:
            return store.apply([structs.replace(command, queue=name) if isinstance(command, Purge) else command])

        answers = await self._each_known(await self._queues.names(), apply_one)
        if isinstance(command, Purge) and command.erased:
            await (await self._queues.root()).forget_tenant(command.erased)
        return Answer(True, sum(answer.changed for (answer,) in answers))

    async def _each_known(self, names: Iterable[str], do: Callable[[QueueStore, str], Awaitable[T]]) -> list[T]:
        """Apply `do` to the store and the name of each queue that exists, in parallel; then raise the first error."""

        async def one(name: str) -> list[T]:
            store = await self._queues.known(name)
            return [] if store is None else [await do(store, name)]

        return [each for some in _raised(await _results(map(one, names))) for each in some]

    async def schedules(self) -> list[ScheduleRecord]:
        """Return all schedules by name."""
        return await (await self._queues.root()).schedules()

    async def enlist(self, entries: Sequence[ScheduleEntry]) -> list[ScheduleRecord]:
        """Declare schedules; raise ConfigurationError with nothing changed."""
        return await (await self._queues.root()).enlist(entries)

    async def amend(self, changes: Sequence[Amendment]) -> list[Answer]:
        """Change schedules, in order."""
        return await (await self._queues.root()).amend(changes)

    async def schedule_changes(self) -> int:
        """Return the number of operators' changes of schedules."""
        return await (await self._queues.root()).schedule_changes()

    async def advance(self, moves: Sequence[ScheduleAdvance]) -> list[bool]:
        """Take ticks, and store their messages in the same step; the relay moves them when this returns."""
        root = await self._queues.root()
        made = await root.advance(moves)
        if any(made):
            await self._relay.move(root)
        return made

    async def guards(self) -> GuardsView:
        """Return all guards by name."""
        return await (await self._queues.root()).guards()

    async def swap(self, records: Sequence[GuardRecord]) -> list[bool]:
        """Store the records that follow on the stored revision."""
        return await (await self._queues.root()).swap(records)

    async def guard_changes(self) -> int:
        """Return the number of changes of guards."""
        return await (await self._queues.root()).guard_changes()

    async def bindings(self) -> Bindings:
        """Return all exchanges and bindings."""
        return await (await self._queues.root()).bindings()

    async def unbind(self, bindings: Sequence[Binding], exchanges: Sequence[str]) -> int:
        """Remove bindings, and exchanges that no binding names."""
        return await (await self._queues.root()).unbind(bindings, exchanges)

    async def publish_events(self, events: Sequence[ExchangeEvent]) -> list[Routed]:
        """Keep the copies of each event, those of each queue in one step; repeating an event completes it."""
        return await self._expansion.publish(events)

    async def _publish_copies(self, version: int, messages: Sequence[Message]) -> list[Published] | None:
        """Keep the messages if the bindings had this version just before."""
        if not await (await self._queues.root()).has_version(version):
            return None
        return await self.publish(messages) if messages else []


def _queue_of(id_: str) -> str:
    return id_.partition(".")[0]


def _command_queue(command: Command) -> str | None:
    """Return the queue of a command; None for all queues."""
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


def _groups(items: Sequence[S], queue_of: Callable[[S], str]) -> dict[str, list[S]]:
    """Return the items by queue."""
    groups: dict[str, list[S]] = {}
    for item in items:
        groups.setdefault(queue_of(item), []).append(item)
    return groups


async def _results(calls: Iterable[Awaitable[T]]) -> list[T | BaseException]:
    """Run the calls in parallel; return the result or the error of each, after the last has ended."""
    return await asyncio.gather(*calls, return_exceptions=True)


def _raised(results: Sequence[T | BaseException]) -> list[T]:
    """Return the results; raise the first error among them."""
    values: list[T] = []
    for each in results:
        if isinstance(each, BaseException):
            raise each
        values.append(each)
    return values
