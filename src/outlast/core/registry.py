"""The declarations of an app: kinds, queues and schedules. Declaring does no I/O."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import inf
from typing import Any, Literal

from msgspec import structs

from outlast.core.errors import ConfigurationError, DuplicateKind
from outlast.core.exchanges.declared import DeclaredBinding, EventParameter, check_one_kind, settled_bindings
from outlast.core.exchanges.values import Binding, Exchange
from outlast.core.guards.needs import DeclaredGuard, settled_needs
from outlast.core.kinds import Upgrade, name_of, runnable_kinds, wire_kind
from outlast.core.policy import DEFAULTS, Policy, Priority
from outlast.core.schedule import Scheduled
from outlast.core.topology import Queue, Topology
from outlast.core.unique import OnConflict

__all__ = ["Declaration", "Mode", "Need", "Registry"]

Mode = Literal["async", "thread", "process"]


@dataclass(frozen=True, slots=True)
class Need:
    """An injected parameter of a handler. call: makes the value. cached: made once per run, then shared in the run."""

    name: str
    call: Callable[..., Any]
    cached: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Declaration:
    """One kind of job: its handler, and the options of all its jobs.

    version: of the arguments. aliases: former names of the kind. upgrades: by version, the function that converts it.
    """

    kind: str
    queue: str
    handler: Callable[..., Any]
    mode: Mode
    takes_context: bool
    policy: Policy
    priority: Priority = "normal"
    expires: float | None = None
    max_wait: float | None = None
    """Seconds within which a job must begin by the forecast; None: what the queue declares."""
    key: str | Callable[..., str | None] | None = None
    unique: str | Callable[..., str | None] | None = None
    unique_until: Literal["start", "finish"] = "finish"
    unique_seconds: float | None = None
    inherit_deadline: bool = False
    """Whether a job expires at the deadline of its caller."""
    guards: tuple[str, ...] | None = None
    """The guards that its queue needs; None: what the queue declares."""
    on_conflict: OnConflict = "existing"
    version: int = 1
    aliases: tuple[str, ...] = ()
    upgrades: Mapping[int, Upgrade] = field(default_factory=dict)
    needs: tuple[Need, ...] = ()
    """The dependencies, after `*`."""
    on: tuple[DeclaredBinding, ...] = ()
    """The events that are given to it as jobs."""
    event: EventParameter | None = None
    """The argument that is the event; None without bindings."""
    middleware: Sequence[Callable[..., Any]] = ()
    """The middleware of the router, inside that of the app. The list may still grow."""
    wire: str = field(init=False)
    """The kind on the wire: the name, and the version from 2 on."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "wire", wire_kind(self.kind, self.version))

    @property
    def on_loop(self) -> bool:
        """Whether the handler is `async def`."""
        return inspect.iscoroutinefunction(self.handler)

    @property
    def kinds(self) -> dict[str, int]:
        """Every kind of message that the handler can run, with its version; `wire` comes first."""
        return runnable_kinds(self.kind, self.aliases, self.version, self.upgrades)


@dataclass(slots=True)
class Registry:
    """All declarations of one app by kind, and its queues, schedules, guards and exchanges by name."""

    declarations: dict[str, Declaration] = field(default_factory=dict)
    kinds: dict[str, Declaration] = field(default_factory=dict)
    """The declaration that runs each wire kind, with older versions and former names."""
    queues: dict[str, Queue] = field(default_factory=dict)
    schedules: dict[str, Scheduled] = field(default_factory=dict)
    guards: dict[str, DeclaredGuard] = field(default_factory=dict)
    exchanges: dict[str, Exchange] = field(default_factory=dict)
    app: str = ""
    """The name of the app."""
    middleware: list[Callable[..., Any]] = field(default_factory=list)
    """The middleware of every run, outermost first."""
    on_start: list[Callable[[], Any]] = field(default_factory=list)
    on_stop: list[Callable[[], Any]] = field(default_factory=list)
    """What each worker process calls before its first and after its last job."""
    overrides: dict[Any, Callable[..., Any]] = field(default_factory=dict)
    """Replacements of dependencies in tests."""
    version: int = 0
    """Increases with every change of `topology()` or of the guards; an open store then gets the topology again."""
    _explicit: set[str] = field(default_factory=set)
    _names: dict[str, Declaration] = field(default_factory=dict)
    _own: tuple[int, dict[str, dict[tuple[str, str], Binding]]] = (-1, {})
    """The version that they are of; by exchange what `own_bindings` returns."""

    def add(self, declaration: Declaration) -> None:
        """Add a kind; raise DuplicateKind when another handler uses its name or one of its aliases.

        Raise ConfigurationError when another kind of its queue is bound to the same exchange.
        """
        names = (declaration.kind, *declaration.aliases)
        for name in names:
            if known := self._names.get(name):
                raise DuplicateKind(
                    f"kind {name!r} is declared twice, by {_where(known)} and {_where(declaration)}: "
                    "give one of them another name with kind=..., or remove the name from the aliases= of one"
                )
        if declaration.on:
            check_one_kind(declaration, self.declarations.values())
        self._names |= dict.fromkeys(names, declaration)
        self.declarations[declaration.kind] = declaration
        self.kinds |= dict.fromkeys(declaration.kinds, declaration)
        self.queues.setdefault(declaration.queue, Queue(name=declaration.queue))
        self.version += 1

    def add_queue(self, queue: Queue) -> None:
        """Set the bounds of a queue; raise ConfigurationError when it is declared already with other bounds."""
        if queue.name in self._explicit and self.queues[queue.name] != queue:
            raise ConfigurationError(f"queue {queue.name!r} is declared twice with different settings: keep one")
        self._explicit.add(queue.name)
        self.queues[queue.name] = queue
        self.version += 1

    def add_schedule(self, scheduled: Scheduled) -> None:
        """Add a schedule; raise ConfigurationError when another schedule has its name."""
        if known := self.schedules.get(scheduled.name):
            raise ConfigurationError(
                f"schedule {scheduled.name!r} is declared twice, for {known.kind!r} and {scheduled.kind!r}: "
                "give one of them another name with name=..."
            )
        self.schedules[scheduled.name] = scheduled
        self.version += 1

    def add_guard(self, guard: DeclaredGuard) -> None:
        """Add a guard; raise ConfigurationError when another guard has its name."""
        if guard.name in self.guards:
            raise ConfigurationError(
                f"guard {guard.name!r} is declared twice: use the first one, or give one of them another name"
            )
        self.guards[guard.name] = guard
        self.version += 1

    def add_exchange(self, exchange: Exchange) -> None:
        """Add an exchange; raise ConfigurationError when it is declared already with other settings."""
        known = self.exchanges.setdefault(exchange.name, exchange)
        if known != exchange:
            raise ConfigurationError(
                f"exchange {exchange.name!r} is declared twice, with type={known.type!r}, "
                f"unroutable={known.unroutable!r} and with type={exchange.type!r}, "
                f"unroutable={exchange.unroutable!r}: keep one"
            )
        self.version += 1

    def same_kind(self, one: str, other: str) -> bool:
        """Tell whether two wire kinds are one kind: in any version, by its present or a former name."""
        if one == other:
            return True
        names = (name_of(one), name_of(other))
        return names[0] == names[1] or (names[0] in self._names and self._names[names[0]] is self._names.get(names[1]))

    def kinds_by_queue(self) -> dict[str, tuple[str, ...]]:
        """Return the names of the kinds whose jobs go to each queue; none for a queue that is only declared."""
        found: dict[str, list[str]] = {queue: [] for queue in self.queues}
        for kind, declaration in self.declarations.items():
            found[declaration.queue].append(kind)
        return {queue: tuple(kinds) for queue, kinds in found.items()}

    def max_wait(self, declaration: Declaration) -> float | None:
        """Return the seconds within which a job of this kind must begin by the forecast."""
        return declaration.max_wait if declaration.max_wait is not None else self.queues[declaration.queue].max_wait

    def needs(self) -> dict[str, tuple[str, ...]]:
        """Return the names of the guards that each queue needs, for the queues that need any.

        Raise ConfigurationError for a guard that is not declared or cannot hold a queue, and for kinds of one queue
        that need different ones: only now is every declaration known.
        """
        declared = {name: queue.needs for name, queue in self.queues.items()}
        return settled_needs(declared, self.declarations.values(), self.guards)

    def topology(self) -> Topology:
        """Return the topology to declare to a store.

        Raise ConfigurationError as `needs` does, and for a binding to an exchange that is not declared.
        """
        needs = self.needs()
        queues = [
            structs.replace(queue, needs=needs[name]) if needs.get(name, ()) != queue.needs else queue
            for name, queue in self.queues.items()
        ]
        bindings = self._bindings()
        exchanges = tuple(self.exchanges.values())
        kinds, kinds_of = tuple(self.kinds), self._kinds_of()
        return Topology(tuple(queues), self.app, kinds, exchanges, bindings, self._longest_run(), kinds_of)

    def _kinds_of(self) -> dict[str, tuple[str, ...]]:
        """Return the names of the kinds of each queue, with their former names: jobs may still have these."""
        found: dict[str, tuple[str, ...]] = {}
        for each in self.declarations.values():
            found[each.queue] = (*found.get(each.queue, ()), each.kind, *each.aliases)
        return found

    def _longest_run(self) -> float:
        timeouts = [each.policy.timeout for each in self.declarations.values()]
        return max((inf if each is None else each + DEFAULTS.kill_grace for each in timeouts), default=0.0)

    def own_bindings(self, exchange: str) -> Mapping[tuple[str, str], Binding]:
        """Return a binding to this exchange of each of the app's jobs, by its queue and each of its names.

        They tell what the copies of an event are in this release. Raise ConfigurationError as `topology`.
        """
        version, own = self._own
        if version != self.version:
            version, own = self.version, {}
            for each in self._bindings():
                job = self.kinds[each.kind]
                named = dict.fromkeys([(each.queue, name) for name in (job.kind, *job.aliases)], each)
                own.setdefault(each.exchange, {}).update(named)
            self._own = version, own
        return own.get(exchange, {})

    def _bindings(self) -> tuple[Binding, ...]:
        return settled_bindings(self.declarations.values(), self.exchanges, self.app)


def _where(declaration: Declaration) -> str:
    handler = declaration.handler
    return f"{handler.__module__}.{handler.__qualname__}"
