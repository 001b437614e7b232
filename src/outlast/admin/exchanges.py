"""Operations on the exchanges of a store: what is bound, where an event would go, and what no app declares any more."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct

from outlast.core.exchanges.changes import row_of
from outlast.core.exchanges.copies import unroutable_queue
from outlast.core.exchanges.explain import Explanation
from outlast.core.exchanges.router import Router
from outlast.core.exchanges.values import Binding, Bindings, Exchange, HeaderValue
from outlast.core.store.broker import QueueStats
from outlast.core.store.store import Store
from outlast.core.topology import Topology

__all__ = ["ExchangeStatus", "Route", "Undeclared", "exchanges_of", "prune", "route_of", "statuses_of", "undeclared_of"]


class ExchangeStatus(Struct, frozen=True, kw_only=True):
    """What is known of one exchange. kept: unfinished jobs in the queue that keeps what no binding takes.

    stored: the exchange as the store has it, None if only the app declares it. declared: as the app declares it, None
    if it does not, or if no app was asked. new: bindings that the app declares and the store does not have.
    """

    exchange: Exchange
    bindings: tuple[Binding, ...] = ()
    kept: int = 0
    stored: Exchange | None = None
    declared: Exchange | None = None
    new: tuple[Binding, ...] = ()

    @property
    def queues(self) -> list[str]:
        """The queues that are bound to it, by name."""
        return sorted({each.queue for each in self.bindings})


async def exchanges_of(store: Store, declared: Topology) -> list[ExchangeStatus]:
    """Return all exchanges that the store has or the app declares, by name; raise ConfigurationError, StoreError."""
    return statuses_of(await store.exchanges.bindings(), declared, await store.broker.stats(()))


def statuses_of(known: Bindings, declared: Topology, stats: Mapping[str, QueueStats]) -> list[ExchangeStatus]:
    """Return all exchanges that are known or declared, by name. stats: of the queues that the store has."""
    stored = {each.name: each for each in known.exchanges}
    named = {each.name: each for each in declared.exchanges}
    rows = {row_of(each) for each in known.bindings}
    found = []
    for name in sorted(stored | named):
        kept = stats.get(unroutable_queue(name))
        found.append(
            ExchangeStatus(
                exchange=stored.get(name) or named[name],
                bindings=_to(name, known.bindings),
                kept=0 if kept is None else kept.depth,
                stored=stored.get(name),
                declared=named.get(name),
                new=tuple(each for each in _to(name, declared.bindings) if row_of(each) not in rows),
            )
        )
    return found


def _to(exchange: str, bindings: Iterable[Binding]) -> tuple[Binding, ...]:
    return tuple(each for each in bindings if each.exchange == exchange)


class Route(Struct, frozen=True):
    """Where an event would go. queues: those that get a copy, by name. why: of each binding of the exchange."""

    exchange: Exchange
    queues: tuple[str, ...]
    why: tuple[Explanation, ...]

    @property
    def fate(self) -> str:
        """What becomes of the event if no queue gets a copy."""
        return f"kept in {unroutable_queue(self.exchange.name)}" if self.exchange.unroutable == "keep" else "refused"


def route_of(known: Bindings, exchange: str, key: str, headers: Mapping[str, HeaderValue]) -> Route:
    """Return where an event with this key and these headers would go; raise ConfigurationError for an unknown name."""
    router = Router(known.exchanges, known.bindings)
    queues = tuple(each.queue for each in router.route(exchange, key, headers))
    return Route(router.exchange(exchange), queues, router.explain(exchange, key, headers))


class Undeclared(Struct, frozen=True):
    """What a store has and an app does not declare any more.

    bindings: those that this app declared. exchanges: those that no binding names when these are gone, and that the
    app does not declare so; an exchange has no owner, and another app may publish to it. bound: exchanges that the app
    declares with other settings than the store has, with the apps whose bindings keep them.
    """

    bindings: tuple[Binding, ...] = ()
    exchanges: tuple[str, ...] = ()
    bound: Mapping[str, tuple[str, ...]] = {}


def undeclared_of(known: Bindings, declared: Topology) -> Undeclared:
    """Return what is in a store and no longer declared by the app of this topology.

    All bindings of the app to an exchange that it declares with other settings are among them: the store takes the new
    exchange when the old one is gone.
    """
    rows = {row_of(each) for each in declared.bindings}
    named = {each.name: each for each in declared.exchanges}
    changed = {each.name for each in known.exchanges if each.name in named and named[each.name] != each}
    bindings = tuple(
        each
        for each in known.bindings
        if each.app == declared.app and (row_of(each) not in rows or each.exchange in changed)
    )
    gone = {row_of(each) for each in bindings}
    apps: dict[str, set[str]] = {}
    for each in known.bindings:
        if row_of(each) not in gone:
            apps.setdefault(each.exchange, set()).add(each.app)
    free = [each.name for each in known.exchanges if each.name not in apps]
    return Undeclared(
        bindings,
        tuple(name for name in free if name not in named or name in changed),
        {name: tuple(sorted(apps[name])) for name in sorted(changed & apps.keys())},
    )


async def prune(store: Store, undeclared: Undeclared, exchanges: Sequence[str]) -> int:
    """Remove the bindings, and of the exchanges these; return how many rows were removed. Raise StoreError.

    A copy that is in its queue already stays and runs. A process that still declares a binding adds it again when it
    opens the store.
    """
    return await store.exchanges.unbind(
        undeclared.bindings, [each for each in undeclared.exchanges if each in exchanges]
    )
