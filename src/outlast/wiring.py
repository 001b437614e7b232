"""How an app's declarations, its settings, a clock and a store become a Composer and Runtimes, on first use."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from outlast.arguments import Arguments
from outlast.brokers import Store
from outlast.connections import Connections
from outlast.core.events import Observers
from outlast.core.ids import IdFactory
from outlast.core.protocols import Clock
from outlast.core.registry import Registry
from outlast.runtime import Composer, Runtime, shared_rng
from outlast.settings import Settings

__all__ = ["Wiring", "wire"]


def wire(composer: Composer, store: Store, observers: Observers | None = None) -> Runtime:
    """Join what an app declared and one store, opened or not."""
    return Runtime(
        app_name=composer.app_name,
        settings=composer.settings,
        registry=composer.registry,
        clock=composer.clock,
        rng=composer.rng,
        ids=composer.ids,
        arguments=composer.arguments,
        store=store,
        observers=Observers() if observers is None else observers,
    )


class Wiring:
    """One way to run an app: the store that its settings name, or one that a test put in its place."""

    def __init__(
        self,
        app_name: str,
        *,
        settings: Settings,
        registry: Registry,
        arguments: Mapping[str, Arguments],
        observers: Observers,
        clock: Clock,
        connect: Callable[[Settings, Clock], Store],
    ) -> None:
        composer = Composer(
            app_name=app_name,
            settings=settings,
            registry=registry,
            clock=clock,
            rng=shared_rng,
            ids=IdFactory(),
            arguments=arguments,
        )
        self.composer: Final = composer
        self.connections: Final = Connections(
            registry, lambda: connect(settings, clock), lambda store: wire(composer, store, observers)
        )
