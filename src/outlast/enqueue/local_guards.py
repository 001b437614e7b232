"""Tells which guards of an app each process keeps for itself, because its store cannot share them."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Final

from outlast.core.guards.needs import DeclaredGuard
from outlast.core.store.store import Store
from outlast.core.text import counted

__all__ = ["LocalGuards"]

_log: Final = logging.getLogger("outlast")


class LocalGuards:
    """Tells each guard once, when a store is opened: a caller must not learn it from a second probe in an outage."""

    def __init__(self, guards: Mapping[str, DeclaredGuard]) -> None:
        self._guards = guards
        self._told: set[str] = set()

    def opened(self, store: Store) -> None:
        """Tell the guards of which the state is meant for all processes, if this store cannot share it."""
        if store.shares_guards() or not store.broker.capabilities.shared:  # no other process could see its state
            return
        local = [name for name, each in sorted(self._guards.items()) if _is_for_all(each) and name not in self._told]
        if local:
            self._told.update(local)
            _log.warning(
                "%s not shared between processes, the store of %s cannot do it: each process opens and probes %s by "
                "itself; add store='redis://...', or declare Breaker(share=False)",
                f"{counted(len(local), 'guard')} ({', '.join(local)}) {'is' if len(local) == 1 else 'are'}",
                store.url,
                "it" if len(local) == 1 else "them",
            )


def _is_for_all(guard: DeclaredGuard) -> bool:
    return guard.breaker is not None and guard.breaker.share and not guard.keyed
