"""What an app has declared: kinds and queues. Pure: declaring does no I/O."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from outlast.core.errors import ConfigurationError, DuplicateKind
from outlast.core.policy import Policy, Priority
from outlast.core.topology import Queue, Topology

__all__ = ["Declaration", "Mode", "Registry"]

Mode = Literal["async", "thread", "process"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Declaration:
    """One kind of job: its handler and everything that holds for all jobs of the kind."""

    kind: str
    queue: str
    handler: Callable[..., Any]
    mode: Mode
    takes_context: bool
    policy: Policy
    priority: Priority = "normal"
    expires: float | None = None
    key: str | Callable[..., str | None] | None = None
    unique: str | Callable[..., str | None] | None = None
    unique_until: Literal["start", "finish"] = "finish"
    unique_seconds: float | None = None


@dataclass(slots=True)
class Registry:
    """Every declaration of one app, by kind, and its queues, by name."""

    declarations: dict[str, Declaration] = field(default_factory=dict)
    queues: dict[str, Queue] = field(default_factory=dict)
    app: str = ""
    """Whose it is."""
    version: int = 0
    """Grows with every change of `topology()`, so that an open store is told."""
    _explicit: set[str] = field(default_factory=set)

    def add(self, declaration: Declaration) -> None:
        """Add a kind; raise DuplicateKind when another handler has it."""
        known = self.declarations.get(declaration.kind)
        if known is not None:
            raise DuplicateKind(
                f"kind {declaration.kind!r} is declared twice, by {_where(known)} and {_where(declaration)}: "
                "give one of them another name with kind=..."
            )
        self.declarations[declaration.kind] = declaration
        if declaration.queue not in self.queues:
            self.queues[declaration.queue] = Queue(name=declaration.queue)
        self.version += 1

    def add_queue(self, queue: Queue) -> None:
        """Set a queue's bounds; raise ConfigurationError when it was set before with others."""
        if queue.name in self._explicit and self.queues[queue.name] != queue:
            raise ConfigurationError(f"queue {queue.name!r} is declared twice with different settings: keep one")
        self._explicit.add(queue.name)
        self.queues[queue.name] = queue
        self.version += 1

    def topology(self) -> Topology:
        """Return what a store must know."""
        return Topology(tuple(self.queues.values()), self.app, tuple(self.declarations))


def _where(declaration: Declaration) -> str:
    handler = declaration.handler
    return f"{handler.__module__}.{handler.__qualname__}"
