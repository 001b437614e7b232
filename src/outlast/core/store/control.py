"""Change jobs and queues by command, each with an answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, Protocol

from msgspec import Raw, Struct

from outlast.core.message import State
from outlast.core.moving import Adopt, Hold, Moved, Parcel, Unhold
from outlast.core.policy import Priority

__all__ = [
    "Adjust",
    "Answer",
    "Cancel",
    "Command",
    "Control",
    "Edit",
    "Pause",
    "Prune",
    "Purge",
    "Redrive",
    "RunNow",
    "Why",
]


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
