"""The topology that an app declares to a store: its queues with their bounds, limits and retention."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Literal

from msgspec import Struct, field, structs

from outlast.core.durations import Duration, seconds
from outlast.core.errors import ConfigurationError
from outlast.core.exchanges.values import Binding, Exchange
from outlast.core.guards.needs import Named, guard_names
from outlast.core.ids import check_queue_name
from outlast.core.limits import NO_LIMIT, Gcra, Limit, Rate, check_limits
from outlast.core.policy import DEFAULTS, Retention

__all__ = ["ADJUSTABLE", "Queue", "Topology", "adjusted", "limits_of", "of_another_app", "variables_of"]

MOST_WEIGHT: Final = 1000
"""The most jobs that one key may have per turn."""


class Queue(Struct, frozen=True, kw_only=True):
    """A queue: its bounds, its limits and its retention. None is no limit.

    Bounds (at a bound, `on_full` decides whether the new job is refused or old ones are shed): max_depth, unfinished
    jobs; max_bytes, bytes of their arguments; max_age, how long the first ready job of the same key may have waited.
    Limits, enforced by `claim`: concurrency, jobs running at once; rate, jobs that begin, at most `burst` at once (by
    default a tenth of the rate's count). per_key: the same for each key. weights: jobs per turn of a key; 1 for every
    key that is not named. needs: names of guards; while one of them is open, the jobs stay in the store.
    max_wait, a duration: an enqueue of this app is refused if its job would not begin within it, by core.forecast.
    objective, a duration: how long a job should wait at most. It refuses nothing: metrics and alerts go by it.
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
    needs: tuple[str, ...] = ()
    max_wait: float | None = None
    objective: float = DEFAULTS.objective

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
            needs: Sequence[str | Named] = ...,
            max_wait: Duration | None = ...,
            objective: Duration = ...,
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
        structs.force_setattr(self, "needs", guard_names(self.needs, owner))
        if self.max_wait is not None:
            structs.force_setattr(self, "max_wait", seconds(self.max_wait, f"{owner}: max_wait"))
            if self.max_wait == 0:
                raise ConfigurationError(f"{owner}: max_wait=0 would refuse jobs of a busy queue: give more, or None")
        structs.force_setattr(self, "objective", seconds(self.objective, f"{owner}: objective"))
        if self.objective == 0:
            raise ConfigurationError(f"{owner}: objective=0 is missed by each job: give the seconds a job may wait")

    @property
    def gcra(self) -> Gcra | None:
        """The algorithm of the queue's rate."""
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
"""Settings that an operator may change while the queue is in use."""


def limits_of(queue: Queue) -> dict[str, Any]:
    """Return the ADJUSTABLE settings that are set, as plain values (a rate as "10/s") by the names of `adjusted`."""
    named: dict[str, Any] = {name: getattr(queue, name) for name in ADJUSTABLE if name not in ("per_key", "weights")}
    if queue.on_full == "reject":
        del named["on_full"]
    named |= {f"per_key.{name}": getattr(queue.per_key, name) for name in Limit.__struct_fields__}
    named |= {f"weights.{key}": weight for key, weight in sorted(queue.weights.items())}
    return {
        name: str(value) if isinstance(value, Rate) else value for name, value in named.items() if value is not None
    }


def adjusted(queue: Queue, changes: Mapping[str, Any]) -> Queue:
    """Return the declared queue with an operator's changes.

    changes: values of ADJUSTABLE by name; those of per_key as "per_key.rate" and so on, a weight as "weights.<key>".
    Raise ConfigurationError for an invalid name or value.
    """
    of_queue: dict[str, Any] = {}
    of_keys: dict[str, Any] = {}
    weights = dict(queue.weights)
    for name, value in changes.items():
        group, _, rest = name.partition(".")
        if group == "per_key" and rest in Limit.__struct_fields__:
            of_keys[rest] = value
        elif group == "weights" and rest:
            if value is None:
                weights.pop(rest, None)
            else:
                weights[rest] = value
        elif name in ADJUSTABLE and name not in ("per_key", "weights"):
            of_queue[name] = value
        else:
            raise ConfigurationError(
                f"queue {queue.name!r}: {name!r} can't be set: give one of {', '.join(ADJUSTABLE)} "
                "(per_key.rate, weights.<key> and so on)"
            )
    for changed, declared in ((of_queue, queue), (of_keys, queue.per_key)):
        if "rate" in changed and (changed["rate"] is None or ("burst" not in changed and declared.rate is None)):
            changed["burst"] = None  # a burst without its rate is invalid
    per_key = structs.replace(queue.per_key, **of_keys) if of_keys else queue.per_key
    return structs.replace(queue, per_key=per_key, weights=weights, **of_queue)


class Topology(Struct, frozen=True):
    """The queues, exchanges and bindings of one app. Declaring is idempotent; what is not named does not change.

    app: the owner of the queues from now on; "" is never refused and owns nothing. kinds: the wire kinds that the
    declaring process can run; its claims take parked jobs of these kinds at once. An empty `kinds` changes nothing.
    An exchange may be declared by several apps, with the same settings; bindings are added to those that are stored.
    longest_run: seconds after which a run of any of them is killed, at the latest; inf if one has no timeout.
    kinds_of: by queue, the names of the kinds that are declared for it: core.store.totals counts their ends by name.
    """

    queues: tuple[Queue, ...] = ()
    app: str = ""
    kinds: tuple[str, ...] = ()
    exchanges: tuple[Exchange, ...] = ()
    bindings: tuple[Binding, ...] = ()
    longest_run: float = 0.0
    kinds_of: dict[str, tuple[str, ...]] = {}


def of_another_app(queue: str, owner: str, app: str) -> ConfigurationError:
    """Return the error for an app that declares a queue of another app in the same store."""
    return ConfigurationError(
        f"queue {queue!r} belongs to app {owner!r} in this store, and app {app!r} declares it too: rename the queue, "
        f"or give {app!r} a store of its own with {variables_of(app)}URL"
    )


def variables_of(app: str) -> str:
    """Return the prefix of the environment variables that apply to this app alone."""
    name = re.sub("[^A-Z0-9]+", "_", app.upper())
    return f"OUTLAST_{name}_" if name else "OUTLAST_"
