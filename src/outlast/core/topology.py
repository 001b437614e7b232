"""What a store must know before jobs flow: an app's queues with their bounds and retention."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, Literal

from msgspec import Struct, field, structs

from outlast.core.durations import Duration
from outlast.core.errors import ConfigurationError
from outlast.core.ids import check_queue_name
from outlast.core.limits import NO_LIMIT, Gcra, Limit, Rate, check_limits
from outlast.core.policy import Retention

__all__ = ["ADJUSTABLE", "Queue", "Topology", "adjusted", "limits_of", "of_another_app", "variables_of"]

MOST_WEIGHT: Final = 1000
"""The most jobs that one key is given in its turn."""


class Queue(Struct, frozen=True, kw_only=True):
    """A queue: its bounds, its limits and its retention. None is no limit.

    Bounds (what happens at them is `on_full`: a new job is refused, or old ones are shed for it): max_depth, unfinished
    jobs; max_bytes, bytes of their arguments; max_age, a duration, how long the first in line may have waited.
    Limits, kept by `claim`: concurrency, jobs running at once; rate, jobs that begin, with `burst` of them at once
    (a tenth of the rate's count unless given). per_key: the same for each key. weights: jobs that a key is given in its
    turn; 1 for every key not named.
    """

    name: str
    max_depth: int | None = None
    max_bytes: int | None = None
    max_age: float | None = None
    on_full: Literal["reject", "shed"] = "reject"
    concurrency: int | None = None
    rate: Rate | None = None
    burst: int | None = None
    per_key: Limit = NO_LIMIT
    weights: dict[str, int] = field(default_factory=dict)
    retention: Retention = field(default_factory=Retention)

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            name: str,
            max_depth: int | None = ...,
            max_bytes: int | None = ...,
            max_age: Duration | None = ...,
            on_full: Literal["reject", "shed"] = ...,
            concurrency: int | None = ...,
            rate: str | Rate | None = ...,
            burst: int | None = ...,
            per_key: Limit = ...,
            weights: Mapping[str, int] = ...,
            retention: Retention = ...,
        ) -> None: ...

    def __post_init__(self) -> None:
        check_queue_name(self.name)
        owner = f"queue {self.name!r}"
        check_limits(self, owner)
        if self.on_full not in ("reject", "shed"):
            raise ConfigurationError(f"{owner}: on_full={self.on_full!r} must be 'reject' or 'shed'")
        if not isinstance(self.per_key, Limit):
            raise ConfigurationError(f"{owner}: per_key={self.per_key!r} must be a Limit(...)")
        if not isinstance(self.weights, Mapping):
            raise ConfigurationError(f"{owner}: weights={self.weights!r} must map keys to whole numbers")
        for key, weight in self.weights.items():
            if type(key) is not str or type(weight) is not int or not 1 <= weight <= MOST_WEIGHT:
                raise ConfigurationError(
                    f"{owner}: weights={{{key!r}: {weight!r}}} must map a key to a whole number, 1 to {MOST_WEIGHT}"
                )
        if not isinstance(self.retention, Retention):
            raise ConfigurationError(f"{owner}: retention={self.retention!r} must be a Retention(...)")

    @property
    def gcra(self) -> Gcra | None:
        """The algorithm of the queue's own rate."""
        return None if self.rate is None else Gcra.of(self.rate, self.burst)


ADJUSTABLE: Final = (
    "max_depth",
    "max_bytes",
    "max_age",
    "on_full",
    "concurrency",
    "rate",
    "burst",
    "per_key",
    "weights",
)
"""What an operator may set while the queue is in use."""


def limits_of(queue: Queue) -> dict[str, Any]:
    """Return what of ADJUSTABLE is set, by the names that `adjusted` takes, as plain values: a rate as "10/s"."""
    named: dict[str, Any] = {name: getattr(queue, name) for name in ADJUSTABLE if name not in ("per_key", "weights")}
    if queue.on_full == "reject":
        del named["on_full"]
    named |= {f"per_key.{name}": getattr(queue.per_key, name) for name in Limit.__struct_fields__}
    named |= {f"weights.{key}": weight for key, weight in sorted(queue.weights.items())}
    return {
        name: str(value) if isinstance(value, Rate) else value for name, value in named.items() if value is not None
    }


def adjusted(queue: Queue, changes: Mapping[str, Any]) -> Queue:
    """Return a queue as an operator has it: `changes` over what is declared.

    changes: values of ADJUSTABLE by name; those of per_key as "per_key.rate" and so on, a weight as "weights.<key>".
    Raise ConfigurationError for a name or a value that is none.
    """
    own: dict[str, Any] = {}
    each: dict[str, Any] = {}
    weights = dict(queue.weights)
    for name, value in changes.items():
        group, _, rest = name.partition(".")
        if group == "per_key" and rest in Limit.__struct_fields__:
            each[rest] = value
        elif group == "weights" and rest:
            if value is None:
                weights.pop(rest, None)
            else:
                weights[rest] = value
        elif name in ADJUSTABLE and name not in ("per_key", "weights"):
            own[name] = value
        else:
            raise ConfigurationError(
                f"queue {queue.name!r}: {name!r} can't be set: give one of {', '.join(ADJUSTABLE)} "
                "(per_key.rate, weights.<key> and so on)"
            )
    for changed, of in ((own, queue), (each, queue.per_key)):
        if "rate" in changed and (changed["rate"] is None or ("burst" not in changed and of.rate is None)):
            changed["burst"] = None  # of a rate that is no more
    per_key = structs.replace(queue.per_key, **each) if each else queue.per_key
    return structs.replace(queue, per_key=per_key, weights=weights, **own)


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
