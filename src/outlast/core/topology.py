"""What a store must know before jobs flow: queues with their bounds and retention."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct, field

from outlast.core.errors import ConfigurationError
from outlast.core.ids import check_queue_name
from outlast.core.policy import Retention

__all__ = ["Queue", "Topology"]


class Queue(Struct, frozen=True, kw_only=True):
    """A queue and its bounds. max_depth: the most unfinished jobs, None for no bound; at it a new job is refused."""

    name: str
    max_depth: int | None = None
    on_full: Literal["reject"] = "reject"
    retention: Retention = field(default_factory=Retention)

    def __post_init__(self) -> None:
        check_queue_name(self.name)
        if self.max_depth is not None and (type(self.max_depth) is not int or self.max_depth < 1):
            raise ConfigurationError(
                f"queue {self.name!r}: max_depth={self.max_depth!r} must be a whole number, 1 or more, or None"
            )
        if self.on_full != "reject":
            raise ConfigurationError(f"queue {self.name!r}: on_full={self.on_full!r} must be 'reject'")
        if not isinstance(self.retention, Retention):
            raise ConfigurationError(f"queue {self.name!r}: retention={self.retention!r} must be a Retention(...)")


class Topology(Struct, frozen=True):
    """Every queue of one app. Declaring is idempotent; a queue that is not named keeps what it has."""

    queues: tuple[Queue, ...] = ()
