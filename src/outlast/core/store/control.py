"""The protocol that changes jobs and queues by commands, and the commands with their answer."""

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
    "queue_named",
]


class Cancel(Struct, frozen=True):
    """End a job that does not run as cancelled; tell the holder of a running one to stop it."""

    id: str


class Redrive(Struct, frozen=True):
    """Make a dead, cancelled or expired job ready again, with attempts and crashes counted from the start.

    A job that was moved to another store is refused: it would run in both.
    """

    id: str


class Edit(Struct, frozen=True):
    """Change a job that waits, or a dead, cancelled or expired one before its redrive. None leaves a field unchanged.

    args: replaces all arguments; change: replaces only those that it names, so that redacted ones stay. An ended job
    takes no run_at. The key and the unique key do not change.
    """

    id: str
    args: Raw | None = None
    priority: Priority | None = None
    run_at: float | None = None
    change: Raw | None = None


class RunNow(Struct, frozen=True):
    """Make a scheduled or parked job ready at once. One that waits for its unique key is refused: `successor`."""

    id: str


class Pause(Struct, frozen=True):
    """Stop handing out jobs of a queue (`on`), or continue. The store keeps the pause; running jobs continue."""

    queue: str
    on: bool = True


class Adjust(Struct, frozen=True):
    """Set limits of a queue while it is in use. The store keeps them; they override the declaration of any app.

    changes: by the names of core.topology.adjusted, None for no limit. reset: names that follow the declaration again.
    An invalid value raises ConfigurationError, with nothing of the batch applied.
    """

    queue: str
    changes: dict[str, Any] = {}
    reset: tuple[str, ...] = ()


class Purge(Struct, frozen=True):
    """Remove jobs and all their data permanently: by id, or all of a queue, of a key, or of a key in a queue.

    states: only jobs in one of these states; empty means all. A job named by id that is in another state is refused:
    `ended` or `not-ended`. Running jobs named by id or key are removed, and the report of their holder changes nothing;
    other running jobs are cancelled.
    """

    id: str | None = None
    queue: str | None = None
    states: tuple[State, ...] = ()
    key: str | None = None

    @property
    def erased(self) -> str | None:
        """The key of which no trace may stay, also not in costs: all its jobs are named, whatever queue or state."""
        return self.key if self.id is None and self.queue is None and not self.states else None


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
    "unreadable",
    "successor",
]


class Answer(Struct, frozen=True):
    """The answer to a command. changed: the number of changed jobs (or queues). why: set when it could not be done.

    parcel: the job that a `Hold` holds.
    """

    ok: bool
    changed: int = 0
    why: Why = ""
    parcel: Parcel | None = None


def queue_named(command: Command) -> str | None:
    """Return the queue whose jobs a command may change, None for those of any queue."""
    match command:
        case Prune():
            return None
        case Adopt(parcel):
            return parcel.message.queue
        case Pause(queue) | Adjust(queue):
            return queue
        case Purge(id=None):
            return command.queue
    return (command.id or "").partition(".")[0]


class Control(Protocol):
    """Change jobs and queues by commands, for operators and tools."""

    async def apply(self, commands: Sequence[Command]) -> list[Answer]:
        """Apply the commands in order, in one step; the answers align with them.

        A single `Prune`, or a single `Purge` of a queue or key, may take many steps, so that it blocks no other call:
        jobs that are accepted during it stay.
        """
        ...
