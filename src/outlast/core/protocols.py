"""The seam between Outlast and its stores; tests/conformance holds every implementation to these words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol

from msgspec import Raw, Struct

from outlast.core.matching import ArgIs
from outlast.core.message import Delivery, Durability, Failure, Holder, Message, State, Usage
from outlast.core.moving import Adopt, Hold, Moved, Parcel, Unhold
from outlast.core.policy import Priority
from outlast.core.schedule import Amendment, Entry, Move, ScheduleRecord
from outlast.core.settlement import Lost, Note, Published, Settlement
from outlast.core.topology import Topology

__all__ = [
    "Adjust",
    "Answer",
    "Broker",
    "Cancel",
    "Capabilities",
    "Clock",
    "Command",
    "Control",
    "Edit",
    "JobRecord",
    "Page",
    "Pause",
    "Prune",
    "Purge",
    "Query",
    "QueueStats",
    "Records",
    "Redrive",
    "RunNow",
    "Schedules",
]


class Clock(Protocol):
    """Two clocks: due times and records are wall time, leases and deadlines monotonic. Both in seconds."""

    def time(self) -> float:
        """Return wall time, seconds since 1970."""
        ...

    def monotonic(self) -> float:
        """Return a time that never jumps; on one host the same for every process."""
        ...


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


class JobRecord(Struct, frozen=True, kw_only=True):
    """All that may be shown of a job. args are redacted; times are wall time in seconds."""

    id: str
    queue: str
    kind: str
    state: State
    reason: str | None = None
    args: dict[str, Any]
    priority: Priority = "normal"
    key: str | None = None
    unique: str | None = None
    attempt: int = 1
    crashes: int = 0
    enqueued_at: float
    run_at: float
    """When it is, or was last, due; once it has ended, when it was first due."""
    expires_at: float | None = None
    finished_at: float | None = None
    holder: str | None = None
    cancelling: bool = False
    result: Raw | None = None
    progress: Raw | None = None
    failures: tuple[Failure, ...] = ()
    """The last ones, oldest first, at most `Defaults.failures_kept`."""
    usage: Usage | None = None
    """What the run that ended it used, where that was measured and is worth keeping."""


class Query(Struct, frozen=True, kw_only=True):
    """Which records: all given fields must match. Newest acceptance first; `cursor` from the page before.

    kind: a name means every version of it, "send@2" that one.
    accepted_before, accepted_after: bounds of `enqueued_at`, wall time in seconds; it is before the one and not before
    the other. A search that no index serves walks over the jobs in short steps, and holds up no writer.
    """

    queue: str | None = None
    states: tuple[State, ...] = ()
    kind: str | None = None
    key: str | None = None
    reason: str | None = None
    args: tuple[ArgIs, ...] = ()
    accepted_before: float | None = None
    accepted_after: float | None = None
    limit: int = 50
    cursor: str | None = None


class Page(Struct, frozen=True):
    """Records and where the next page begins; cursor None: there is none."""

    records: list[JobRecord]
    cursor: str | None = None


class Records(Protocol):
    """Look at jobs; change nothing."""

    async def get(self, ids: Sequence[str]) -> list[JobRecord | None]:
        """Return the records, aligned with `ids`; None for one that is not known. Reads compute `expired`."""
        ...

    async def find(self, query: Query) -> Page:
        """Return one page; one with fewer than `limit` may have a cursor all the same: so far one call has looked."""
        ...

    async def wait(self, ids: Sequence[str], timeout: float) -> list[JobRecord | None]:
        """Return the records as soon as all have ended or are unknown, or as they are after `timeout` seconds."""
        ...

    async def count(self, query: Query) -> dict[State, int]:
        """Count matching records by state; limit and cursor are not looked at."""
        ...


class Cancel(Struct, frozen=True):
    """End a waiting job as cancelled; ask the holder of a running one to stop."""

    id: str


class Redrive(Struct, frozen=True):
    """Make a dead, cancelled or expired job ready again, with its attempts and crashes at the start.

    One that was moved to another store is refused: it would run in both.
    """

    id: str


class Edit(Struct, frozen=True):
    """Change a job that waits, or one that is dead, cancelled or expired, before its redrive. None leaves a field.

    args: all of them; change: those that it names, while the others stay, also the redacted ones that nobody sees. An
    ended job takes no run_at. Its key and its unique key stay what they were.
    """

    id: str
    args: Raw | None = None
    priority: Priority | None = None
    run_at: float | None = None
    change: Raw | None = None


class RunNow(Struct, frozen=True):
    """Make a scheduled or parked job ready at once."""

    id: str


class Pause(Struct, frozen=True):
    """Stop handing out jobs of a queue (`on`), or go on. Remembered by the store; what runs goes on."""

    queue: str
    on: bool = True


class Adjust(Struct, frozen=True):
    """Set limits of a queue while it is in use; remembered by the store, over what any app declares.

    changes: by the names of core.topology.adjusted, None for no limit. reset: names that are as declared again, from
    now on. A value that is none raises ConfigurationError, with nothing of the batch applied.
    """

    queue: str
    changes: dict[str, Any] = {}
    reset: tuple[str, ...] = ()


class Purge(Struct, frozen=True):
    """Remove jobs and all that is kept about them, for good: by id, or all of a queue, a key, or a key in a queue.

    states: only those that are in one of these now; none given means all. A job named by id that is in another one is
    refused: `ended` or `not-ended`. Running jobs are asked to stop, and removed when named by id or key; their holder's
    report then changes nothing.
    """

    id: str | None = None
    queue: str | None = None
    states: tuple[State, ...] = ()
    key: str | None = None


class Prune(Struct, frozen=True):
    """Apply retention now."""


Command = Cancel | Redrive | Edit | RunNow | Pause | Adjust | Purge | Prune | Hold | Adopt | Moved | Unhold


Why = Literal[
    "",
    "unknown",
    "running",
    "ended",
    "not-ended",
    "not-waiting",
    "nothing-named",
    "conflict",
    "held",
    "moved",
    "too-large",
    "declared",
]


class Answer(Struct, frozen=True):
    """What came of a command. changed: how many jobs (or queues). why: set when nothing could be done.

    parcel: the job that a `Hold` set aside.
    """

    ok: bool
    changed: int = 0
    why: Why = ""
    parcel: Parcel | None = None


class Control(Protocol):
    """Change jobs and queues by command, for people and tools."""

    async def apply(self, commands: Sequence[Command]) -> list[Answer]:
        """Apply the commands in order, in one step; the answers align with them.

        A `Prune` or a `Purge` of a queue or a key that comes alone may take many steps, so that nobody waits for it:
        what is accepted meanwhile stays.
        """
        ...


class Schedules(Protocol):
    """Keep schedules, and let each tick be taken once: what `core.ticking` says of a record is what is stored."""

    async def schedules(self) -> list[ScheduleRecord]:
        """Return all that are known, by name."""
        ...

    async def enlist(self, entries: Sequence[Entry]) -> list[ScheduleRecord]:
        """Declare these schedules, in one step, and return their records, aligned: `core.ticking.enlisted`.

        Raise ConfigurationError, with nothing changed, for one of another app.
        """
        ...

    async def advance(self, moves: Sequence[Move]) -> list[bool]:
        """Make each move whose schedule still has the revision it expects, and publish its messages in the same step.

        The answers align with the moves; False: somebody else was first, and nothing of the move has happened. Messages
        pass a full queue, counted, as follow-ups do: a tick is not lost for want of room. Raise BodyTooLarge, with
        nothing changed, for a message over the store's limit.
        """
        ...

    async def amend(self, changes: Sequence[Amendment]) -> list[Answer]:
        """Apply changes by people, in order, in one step: `core.ticking.amended`. Wakes who waits in `amended`."""
        ...

    async def amended(self, since: int, timeout: float) -> int:
        """Return a number above `since` once schedules were changed by people after the call that returned `since`.

        Begin with 0. After `timeout` seconds it returns what there is. A change by another process may be heard of
        late, but within the timeout.
        """
        ...
