"""The exchanges and bindings of the memory store. No other process shares them, but the rules are the same."""

from __future__ import annotations

from collections.abc import Sequence

from outlast.core.exchanges.changes import BindingChange, added, changed, removed
from outlast.core.exchanges.values import Binding, Bindings
from outlast.core.topology import Topology

__all__ = ["MemoryBindings"]


class MemoryBindings:
    """All exchanges and bindings. Callers hold the store's lock."""

    def __init__(self) -> None:
        self.known = Bindings()

    def added(self, topology: Topology) -> BindingChange:
        """Return what a declaration changes; raise ConfigurationError for one that does not fit what is stored."""
        return added(self.known, topology.exchanges, topology.bindings)

    def change(self, change: BindingChange) -> None:
        """Make a change."""
        if change:
            self.known = changed(self.known, change, self.known.version + 1)

    def unbind(self, bindings: Sequence[Binding], exchanges: Sequence[str]) -> int:
        """Remove bindings, and exchanges without any; return how many of both."""
        change = removed(self.known, bindings, exchanges)
        self.change(change)
        return change.removed
