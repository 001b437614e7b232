"""The protocol of a broker, which keeps and hands out messages, with its capabilities and the counts of a queue."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol

from msgspec import Struct

from outlast.core.durability import Durability
from outlast.core.forecast import Forecast
from outlast.core.guards.permits import PermitsInUse
from outlast.core.message import Delivery, Holder, Message
from outlast.core.settlement import Lost, Note, Published, Settlement
from outlast.core.store.features import ALL_FEATURES, Features
from outlast.core.topology import Topology

__all__ = ["Broker", "Capabilities", "QueueStats"]


class Capabilities(Struct, frozen=True, kw_only=True):
    """What a store can do. `declare` refuses what the store cannot do; nothing is ignored silently."""

    durability: Durability
    max_body: int
    """The most bytes of one message's arguments."""
    shared: bool
    """Whether other processes can reach the same jobs."""
    window: float = 0.0
    """Seconds of accepted jobs that a crash beyond `durability` may lose; 0 where that is not known."""
    spread: bool = False
    """Whether each queue is on one of several servers. A call over several queues is then one step per queue, and may
    be done in only some of them when it raises; there is no order of acceptance across queues. A follow-up for another
    queue is stored with its settlement, and may come to its queue later."""
    leases: bool = True
    """Whether jobs are held by a lease, which another process may renew or end. False: the connection of the worker
    holds them, and its end makes them ready again. `extend` has nothing to do then, `forfeit` lets go of what this
    object holds, and the supervisor opens no store."""
    longest_run: float | None = None
    """The most seconds for which a worker may hold a job; None: no bound."""
    features: Features = ALL_FEATURES
    """What it offers to those who declare and enqueue jobs."""


class QueueStats(Struct, frozen=True, kw_only=True):
    """Counts of one queue. oldest: seconds that the first ready job has waited; drain_rate: ended jobs per second."""

    depth: int = 0
    ready: int = 0
    scheduled: int = 0
    running: int = 0
    parked: int = 0
    successors: int = 0
    """Jobs that wait for the one that holds their unique key."""
    dead: int = 0
    oldest: float = 0.0
    drain_rate: float = 0.0
    paused: bool = False
    consumers: int = 0
    """Live holders whose last claim named this queue, with demand 0 too."""
    max_depth: int | None = None
    bytes: int | None = None
    """Bytes of the arguments of unfinished jobs, counted where `max_bytes` is set."""
    max_bytes: int | None = None
    shed: int = 0
    """Jobs that were shed for others, in total."""
    keys: int = 0
    """Keys in the round robin."""
    keys_held: int = 0
    """Keys that their own limits hold back."""
    held: Literal["", "concurrency", "rate"] = ""
    """The limit of the queue that lets no job begin now."""
    limits: dict[str, Any] = {}
    """The settings in force that differ from the defaults, by the names of `Adjust`."""
    changed: tuple[str, ...] = ()
    """Names of the settings that an operator has changed."""
    needs: tuple[str, ...] = ()
    """Names of the guards that the queue needs, as its app declares."""
    forecast: Forecast = Forecast()
    """When it will be empty, and when a job begins that is enqueued now. Guards that hold the queue are not in it."""
    permits: tuple[PermitsInUse, ...] = ()
    """The bulkheads in use in its workers, each told with one queue of the worker, when that claimed last."""


class Broker(Protocol):
    """Keep and hand out messages; decide nothing. Every operation is a batch that is applied in full or not at all."""

    @property
    def capabilities(self) -> Capabilities:
        """The capabilities of this store, known once it is open."""
        ...

    async def open(self) -> None:
        """Connect and make the store ready; do nothing if it is open. Raise StoreError or UnsafeStore."""
        ...

    async def close(self) -> None:
        """Finish the calls that were accepted, then disconnect. Held jobs stay held until their lease lapses."""
        ...

    async def declare(self, topology: Topology) -> None:
        """Set the bounds of these queues, and let claims of this store take parked jobs of `kinds`. Idempotent.

        A queue belongs to the first app that declares it. Exchanges and bindings are added, by core.exchanges.changes,
        where the store has the part `Exchanges`. Raise ConfigurationError, with nothing changed, for a queue of another
        app, for a setting that the store cannot enforce and for an exchange that is stored with other settings.
        """
        ...

    async def publish(self, messages: Sequence[Message]) -> list[Published]:
        """Keep the messages; the answers align with the input. A known id or a held unique key answers Exists
        with the kind of the job that has it.

        A queue that was not declared is made with the defaults. A message that is not due is `scheduled`. A message
        with `Unique.replace` takes the unique key of a waiting job, which ends as cancelled ("replaced"). While a job
        that will not do its work holds the key, it is kept as the key's one successor, in state `waiting`, by
        core.succession. A queue with bounds answers Full, or ends jobs as expired ("shed"), by
        core.admission.make_room.
        """
        ...

    async def claim(
        self, demand: Mapping[str, int], *, limit: int, holder: Holder, lease: float, wait: float
    ) -> list[Delivery]:
        """Hand out at most `limit` ready jobs and at most `demand[q]` of queue q, in the order of core.select.

        Wait up to `wait` seconds and return as soon as one job is ready, due or lapsed: at once when notified, up to a
        second late otherwise. The lease of all jobs of the holder is renewed for `lease` seconds from now; a claim
        without a job may leave the lease unchanged. Jobs of a lapsed lease are ready again and count one crash; one
        that was to be cancelled ends as cancelled. A paused queue hands out none. A cancelled call hands out no job.

        A queue with demand 0 is attended: `holder` counts as its consumer (`QueueStats.consumers`) while the lease
        runs. Nothing else is done for it: it hands out nothing, none of its jobs or limits ends the wait or is looked
        at, and it is not written. A queue that `demand` leaves out may lose this consumer.

        The first claim with a new `holder.loads` keeps them with the holder, and counts for the forecast of each queue
        with a demand (`QueueStats.forecast`).
        """
        ...

    async def settle(self, settlements: Sequence[Settlement]) -> list[Lost]:
        """Apply each settlement whose fence counts; return the superseded ones. Repeating a settlement changes nothing.

        A fence counts until its job is claimed again, ended or taken back by a command, even after its lease lapsed.
        A follow-up whose unique key another job holds is not stored: as long as an id is remembered, its id leads to
        that job (`Records.get`).
        """
        ...

    async def extend(self, holder: Holder, *, lease: float) -> list[Lost]:
        """Renew the lease of all jobs of `holder` for `lease` seconds from now.

        Return the fences that were superseded since its last call, and, each time, those to cancel. Jobs whose lease
        lapsed and that were not claimed again are held again, without counting the crash.
        """
        ...

    async def save(self, notes: Sequence[Note]) -> list[Lost]:
        """Keep notes about running jobs; return the superseded fences."""
        ...

    async def forfeit(self, holder: Holder, *, crashed: bool) -> int:
        """Make all jobs of a dead holder ready at once, each with one more crash if `crashed`; return their number."""
        ...

    async def stats(self, queues: Sequence[str]) -> dict[str, QueueStats]:
        """Return the counts of these queues, of all known ones when empty. An unknown name is left out."""
        ...
