"""What a store must know before jobs flow: an app's queues with their bounds and retention."""

from __future__ import annotations

import re
from typing import Literal

from msgspec import Struct, field

from outlast.core.errors import ConfigurationError
from outlast.core.ids import check_queue_name
from outlast.core.policy import Retention

__all__ = ["Queue", "Topology", "of_another_app", "variables_of"]


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
    """Queues of one app. Declaring is idempotent; a queue that is not named keeps what it has.

    app: whose they are from now on; "" is nobody, which is refused nowhere and takes nothing. kinds: what whoever
    declares this can run: a parked job of theirs is due for its claims at once. None named leaves what was said before.
    """

    queues: tuple[Queue, ...] = ()
    app: str = ""
    kinds: tuple[str, ...] = ()


def of_another_app(queue: str, owner: str, app: str) -> ConfigurationError:
    """Return the error of an app that declares a queue which belongs to another one of the same store."""
    return ConfigurationError(
        f"queue {queue!r} belongs to app {owner!r} in this store, and app {app!r} declares it too: name the queue "
        f"otherwise, or give {app!r} a store of its own with {variables_of(app)}URL"
    )


def variables_of(app: str) -> str:
    """Return what the names of the variables begin with that set this app alone."""
    own = re.sub("[^A-Z0-9]+", "_", app.upper())
    return f"OUTLAST_{own}_" if own else "OUTLAST_"
