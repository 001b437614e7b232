"""Build messages and drive a store in few words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeGuard

from msgspec import Raw, structs

from outlast.core.codec import encode_value
from outlast.core.message import Delivery, Failure, Fence, Holder, Message
from outlast.core.policy import Priority, Retention
from outlast.core.settlement import Exists, Finish, Lost, Published, Settlement
from outlast.core.store.broker import QueueStats
from outlast.core.store.control import Answer, Command
from outlast.core.store.records import JobRecord
from outlast.core.store.store import CompleteStore
from outlast.core.topology import Queue, Topology
from outlast.core.unique import Unique
from outlast.testing.clock import FakeClock

__all__ = ["A", "B", "C", "LEASE", "Desk", "failure", "lost", "message", "raw"]

A, B, C = Holder("a" * 32, "worker a"), Holder("b" * 32, "worker b"), Holder("c" * 32, "worker c")
LEASE = 10.0


def message(
    id: str,
    now: float,
    *,
    delay: float = 0.0,
    kind: str = "send",
    args: Mapping[str, Any] | None = None,
    priority: Priority = "normal",
    key: str | None = None,
    unique: Unique | str | None = None,
    expires: float | None = None,
    redacted: tuple[str, ...] = (),
    headers: dict[str, str] | None = None,
    max_wait: float | None = None,
) -> Message:
    """Return a message accepted at `now`; `id` is "queue.rest", `delay` and `expires` are seconds from now."""
    return Message(
        id=id,
        queue=id.partition(".")[0],
        kind=kind,
        args=encode_value(dict(args or {})),
        enqueued_at=now,
        run_at=now + delay,
        priority=priority,
        key=key,
        unique=Unique(unique) if isinstance(unique, str) else unique,
        expires_at=None if expires is None else now + expires,
        redacted=redacted,
        headers=headers,
        max_wait=max_wait,
    )


def failure(attempt: int = 1, text: str = "boom", at: float = 0.0) -> Failure:
    """Return a failed attempt."""
    return Failure(attempt, at, "ValueError", text, "Traceback ...")


@dataclass
class Desk:
    """A store with its clock, and the short words that tests use."""

    store: CompleteStore
    clock: FakeClock
    deliveries: dict[str, Delivery] = field(default_factory=dict)
    """The last hand-out of each job."""

    def message(self, id: str, **options: Any) -> Message:
        """Return a message accepted now."""
        return message(id, self.clock.time(), **options)

    async def declare(self, name: str, **settings: Any) -> None:
        """Declare one queue; settings are those of the queue and of its retention."""
        kept = {name: settings.pop(name) for name in Retention.__struct_fields__ if name in settings}
        await self.store.declare(Topology((Queue(name=name, retention=Retention(**kept), **settings),)))

    async def publish(self, *ids: str, **options: Any) -> list[Published]:
        """Publish one message an id, all with the same options; return the answers without the usual kind."""
        answers = await self.store.publish([self.message(id, **options) for id in ids])
        return [structs.replace(each, kind="") if is_usual(each) else each for each in answers]

    async def claim(
        self,
        *queues: str,
        limit: int = 100,
        holder: Holder = A,
        lease: float = LEASE,
        wait: float = 0.0,
        demand: Mapping[str, int] | None = None,
    ) -> list[Delivery]:
        """Claim from these queues ("q" when none is named), without waiting unless told to."""
        wanted = demand if demand is not None else dict.fromkeys(queues or ("q",), limit)
        given = await self.store.claim(wanted, limit=limit, holder=holder, lease=lease, wait=wait)
        self.deliveries.update((each.message.id, each) for each in given)
        return given

    async def ids(self, *queues: str, **options: Any) -> list[str]:
        """Claim and return the ids in the order given out."""
        return [each.message.id for each in await self.claim(*queues, **options)]

    def fence(self, id: str) -> Fence:
        """Return the fence of the last hand-out of a job."""
        return self.deliveries[id].fence

    async def settle(self, *settlements: Settlement) -> list[Lost]:
        """Settle one batch."""
        return await self.store.settle(settlements)

    async def finish(
        self, *ids: str, state: Literal["succeeded", "dead", "cancelled", "expired"] = "succeeded", **options: Any
    ) -> list[Lost]:
        """Finish the last hand-out of these jobs."""
        if state != "succeeded":
            options.setdefault("reason", "test")
        return await self.store.settle([Finish(self.fence(id), state, **options) for id in ids])

    async def run(self, *ids: str, holder: Holder = A, **options: Any) -> None:
        """Publish, claim and finish these jobs, one after the other; options go to the finish."""
        for id in ids:
            await self.publish(id)
            assert await self.ids(id.partition(".")[0], holder=holder) == [id]
            assert await self.finish(id, **options) == []

    async def lapse(self, *queues: str) -> None:
        """Let every lease run out and be noticed by somebody's claim, for nothing or for queues that give nothing."""
        self.clock.advance(LEASE + 1)
        assert await self.claim(demand=dict.fromkeys(queues, 1), holder=C) == []

    async def extend(self, holder: Holder = A, lease: float = LEASE) -> list[Lost]:
        """Extend a holder's lease."""
        return await self.store.extend(holder, lease=lease)

    async def record(self, id: str) -> JobRecord:
        """Return the record of a job that must be known."""
        (record,) = await self.store.get([id])
        assert record is not None, f"{id} is not known"
        return record

    async def state(self, id: str) -> str:
        """Return a job's state, "unknown" for none."""
        (record,) = await self.store.get([id])
        return "unknown" if record is None else record.state

    async def stats(self, queue: str = "q") -> QueueStats:
        """Return one queue's counts."""
        return (await self.store.stats([queue]))[queue]

    async def apply(self, *commands: Command) -> list[Answer]:
        """Apply commands."""
        return await self.store.apply(commands)

    async def do(self, command: Command) -> Answer:
        """Apply one command."""
        (answer,) = await self.store.apply([command])
        return answer


def is_usual(answer: Published) -> TypeGuard[Exists]:
    """Tell whether the job that is there has the kind that `message` gives."""
    return isinstance(answer, Exists) and answer.kind == "send"


def raw(value: object) -> Raw:
    """Return JSON."""
    return encode_value(value)


def lost(fences: Sequence[Fence], why: Literal["superseded", "cancelled"] = "superseded") -> list[Lost]:
    """Return what a store answers about lost fences."""
    return [Lost(fence, why) for fence in fences]
