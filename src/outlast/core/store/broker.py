"""Keep and hand out messages: what every broker must do, and what it says of itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol

from msgspec import Struct

from outlast.core.durability import Durability
from outlast.core.message import Delivery, Holder, Message
from outlast.core.settlement import Lost, Note, Published, Settlement
from outlast.core.topology import Topology

__all__ = ["Broker", "Capabilities", "QueueStats"]


class Capabilities(Struct, frozen=True, kw_only=True):
    """What a store can do; what it cannot is refused in `declare`, never left out in silence."""

    durability: Durability
    max_body: int
    """Bytes of one message's arguments."""
    shared: bool
    """Other processes reach the same jobs."""
    window: float = 0.0
    """Seconds of acceptance that a crash beyond `durability` may lose; 0 where that is not known."""
    spread: bool = False
    """Each queue lies by itself, on one of several servers. A call over several queues is then one step in each of
    them, and may be done in some only when it raises; there is no order of acceptance over queues."""


class QueueStats(Struct, frozen=True, kw_only=True):
    """One queue, counted. oldest: seconds that the first ready job has waited; drain_rate: ended jobs a second."""

    depth: int = 0
    ready: int = 0
    scheduled: int = 0
    running: int = 0
    parked: int = 0
    dead: int = 0
    oldest: float = 0.0
    drain_rate: float = 0.0
    paused: bool = False
    consumers: int = 0
    """Live holders that have asked for this queue."""
    max_depth: int | None = None
    bytes: int | None = None
    """Bytes of the arguments of unfinished jobs; counted where `max_bytes` is set."""
    max_bytes: int | None = None
    shed: int = 0
    """Jobs that were shed for others, ever."""
    keys: int = 0
    """Keys whose turn is to come."""
    keys_held: int = 0
    """Keys whose jobs wait for their own limits."""
    held: Literal["", "concurrency", "rate"] = ""
    """Which of the queue's own limits lets nothing begin now."""
    limits: dict[str, Any] = {}
    """What holds and is not as by default, by the names of `Adjust`."""
    changed: tuple[str, ...] = ()
    """Names that an operator has set, over what is declared."""


class Broker(Protocol):
    """Keep and hand out messages; decide nothing. Every operation is a batch, and all of it happens or none."""

    @property
    def capabilities(self) -> Capabilities:
        """What this store can do; known once it is open."""
        ...

    async def open(self) -> None:
        """Connect and make the store ready. Raise StoreError or UnsafeStore; opening twice is a no-op."""
        ...

    async def close(self) -> None:
        """Finish what was accepted, then let go of the store. What is held stays held until its lease lapses."""
        ...

    async def declare(self, topology: Topology) -> None:
        """Make these queues known with their bounds, and this store's claims take parked jobs of `kinds`. Idempotent.

        Raise ConfigurationError, with nothing changed, for what can't be kept and for a queue of another app: a queue
        belongs to the first app that declares it.
        """
        ...

    async def publish(self, messages: Sequence[Message]) -> list[Published]:
        """Keep the messages; the answers align with the input. A known id or a held unique key answers Exists.

        A queue that was not declared is made with the defaults. A message that is not due is `scheduled`. A unique key
        that a waiting job holds goes to a message with `Unique.replace`: that job ends cancelled ("replaced"). A queue
        with bounds answers Full, or ends jobs as expired ("shed"), as core.admission.make_room says.
        """
        ...

    async def claim(
        self, demand: Mapping[str, int], *, limit: int, holder: Holder, lease: float, wait: float
    ) -> list[Delivery]:
        """Hand out at most `limit` ready jobs and at most `demand[q]` of queue q, in the order of core.select.

        Wait up to `wait` seconds for the first one: it returns as soon as one is ready (promptly by a bell, a second
        late without), due or lapsed. `lease` seconds run from now for all that the holder holds; a claim that hands out
        nothing may leave the lease as it was. Jobs whose holder's lease has lapsed are ready again and count one crash;
        a flagged one ends cancelled. A paused queue gives none. A call that is cancelled has handed out nothing.
        """
        ...

    async def settle(self, settlements: Sequence[Settlement]) -> list[Lost]:
        """Apply each settlement whose fence still counts; return the superseded. Repeating one changes nothing.

        A fence counts until its job is handed out again, ended or taken back by a command, even past its lease.
        """
        ...

    async def extend(self, holder: Holder, *, lease: float) -> list[Lost]:
        """Renew all that `holder` holds for `lease` seconds from now.

        Returns the fences it lost since it last asked (superseded), and, each time, those to cancel. Jobs whose lease
        had lapsed without being handed out again are held again, without the crash.
        """
        ...

    async def save(self, notes: Sequence[Note]) -> list[Lost]:
        """Keep notes about running jobs; return the superseded."""
        ...

    async def forfeit(self, holder: Holder, *, crashed: bool) -> int:
        """Make all that a dead holder held ready at once, each counting one crash if `crashed`; return how many."""
        ...

    async def stats(self, queues: Sequence[str]) -> dict[str, QueueStats]:
        """Count these queues, all known ones when empty. A name that is not known is left out."""
        ...
