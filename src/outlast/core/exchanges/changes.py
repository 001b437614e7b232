"""What a declaration adds to the exchanges and bindings of a store, and what a removal takes away. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec
from msgspec import Struct

from outlast.core.errors import ConfigurationError
from outlast.core.exchanges.values import Binding, Bindings, Exchange

__all__ = ["BindingChange", "added", "changed", "removed", "row_of"]

_encode: Final = msgspec.json.Encoder(order="sorted").encode


class BindingChange(Struct, frozen=True):
    """The rows that a store has to write and to remove, in one step. It is false if there are none."""

    exchanges: tuple[Exchange, ...] = ()
    bindings: tuple[Binding, ...] = ()
    removed_exchanges: tuple[str, ...] = ()
    removed_bindings: tuple[Binding, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.exchanges or self.bindings or self.removed)

    @property
    def removed(self) -> int:
        """How many rows are removed."""
        return len(self.removed_exchanges) + len(self.removed_bindings)


def row_of(binding: Binding) -> str:
    """Return what tells a binding from the others of its store: exchange, queue, key and arguments, as JSON."""
    return _encode([binding.exchange, binding.queue, binding.key, binding.arguments]).decode()


def added(known: Bindings, exchanges: Iterable[Exchange], bindings: Iterable[Binding]) -> BindingChange:
    """Return what the declaration of these exchanges and bindings changes.

    A stored binding of the same queue to the same exchange gets the kind, the parameter and the options of the declared
    one, whatever its key: all copies of a queue are jobs of one kind. Raise ConfigurationError for an exchange that is
    stored with other settings, and for a binding to an exchange that is not declared.
    """
    stored = {each.name: each for each in known.exchanges}
    new: dict[str, Exchange] = {}
    for exchange in exchanges:
        if (other := stored.get(exchange.name)) is None:
            new[exchange.name] = exchange
        elif other != exchange:
            raise _differs(exchange, other)
    rows = {row_of(each): each for each in known.bindings}
    of_queue: dict[tuple[str, str], list[tuple[str, Binding]]] = defaultdict(list)
    for row, each in rows.items():
        of_queue[each.exchange, each.queue].append((row, each))
    written: dict[str, Binding] = {}
    for binding in bindings:
        if binding.exchange not in stored and binding.exchange not in new:
            raise ConfigurationError(
                f"queue {binding.queue!r} is bound to exchange {binding.exchange!r}, which is not declared: declare it "
                f"with exchange({binding.exchange!r}, type=...)"
            )
        for row, each in of_queue.get((binding.exchange, binding.queue), ()):
            written[row] = msgspec.structs.replace(binding, key=each.key, arguments=each.arguments)
        written[row_of(binding)] = binding
    changes = tuple(each for row, each in written.items() if rows.get(row) != each)
    return BindingChange(tuple(new.values()), changes)


def _differs(declared: Exchange, stored: Exchange) -> ConfigurationError:
    setting = "type" if declared.type != stored.type else "unroutable"
    there, here = getattr(stored, setting), getattr(declared, setting)
    return ConfigurationError(
        f"exchange {declared.name!r} has {setting}={there!r} in this store, and is declared with {setting}={here!r}: "
        f"declare {setting}={there!r}, give the new one another name, or remove the stored one with "
        f"`outlast topology prune` (--app module:name --exchange {declared.name} --yes), once no other app declares it"
    )


def removed(known: Bindings, bindings: Iterable[Binding], exchanges: Sequence[str]) -> BindingChange:
    """Return what the removal of these bindings, and of these exchanges if no binding names them, changes."""
    unwanted = {row_of(each) for each in bindings}
    gone = tuple(each for each in known.bindings if row_of(each) in unwanted)
    bound = {each.exchange for each in known.bindings if row_of(each) not in unwanted}
    names = tuple(each.name for each in known.exchanges if each.name in exchanges and each.name not in bound)
    return BindingChange(removed_exchanges=names, removed_bindings=gone)


def changed(known: Bindings, change: BindingChange, version: int) -> Bindings:
    """Return the exchanges by name and the bindings in the order of their rows, after a change."""
    exchanges = {each.name: each for each in (*known.exchanges, *change.exchanges)}
    rows = {row_of(each): each for each in (*known.bindings, *change.bindings)}
    for name in change.removed_exchanges:
        del exchanges[name]
    for binding in change.removed_bindings:
        del rows[row_of(binding)]
    return Bindings(
        version, tuple(exchanges[name] for name in sorted(exchanges)), tuple(rows[row] for row in sorted(rows))
    )
