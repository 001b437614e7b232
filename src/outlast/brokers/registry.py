"""The kinds of stores, chosen by URL. The package of a store is imported at its first use."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from outlast.core.errors import ConfigurationError

if TYPE_CHECKING:
    from pathlib import Path

    from outlast.brokers.kind import StoreKind
    from outlast.core.clock import Clock
    from outlast.core.findings import Finding
    from outlast.core.store.store import Store
    from outlast.core.topology import Topology

__all__ = ["bridge_findings", "connect", "embedded_url", "find_kind", "kind_of", "library_findings"]


@cache
def _kinds() -> tuple[StoreKind, ...]:
    from outlast.brokers.memory.kind import MemoryKind
    from outlast.brokers.rabbitmq.kind import RabbitKind
    from outlast.brokers.redis.kind import RedisKind
    from outlast.brokers.sqlite.kind import SqliteKind

    return SqliteKind(), RedisKind(), RabbitKind(), MemoryKind()


def find_kind(url: str) -> StoreKind | None:
    """Return the kind of store of a URL, None for an unknown one."""
    scheme = _scheme(url)
    plus = f"{scheme.partition('+')[0]}+"
    return next((kind for kind in _kinds() if scheme in kind.schemes or plus in kind.schemes), None)


def kind_of(url: str, source: str = "") -> StoreKind:
    """Return the kind of store of a URL; raise ConfigurationError for an unknown one. source: shown in the error."""
    if (found := find_kind(url)) is not None:
        return found
    from outlast.core.urls import redact_url

    # For a log the rest is left out: a URL of another kind may hold a secret anywhere. A command shows where it errs.
    scheme = _scheme(url)
    shown = redact_url(url) if source or not url.startswith(f"{scheme}://") else f"{scheme}:..."
    *most, last = (repr(kind.example) for kind in _kinds())
    subject = f"url {shown!r} ({source})" if source else f"url={shown!r} (Settings or OUTLAST_URL)"
    raise ConfigurationError(f"{subject}: give {', '.join(most)} or {last}")


def connect(url: str, *, clock: Clock, max_body: int, amqp_url: str = "", kind: StoreKind | None = None) -> Store:
    """Return the store of a URL, not opened. No I/O; raise ConfigurationError if a URL is wrong.

    amqp_url: of the RabbitMQ that routes the events of the store's app; "": the store routes them. kind: of the URL,
    where the caller knows it.
    """
    kind = kind or kind_of(url)
    store = kind.connect(url, clock=clock, max_body=max_body)
    if not amqp_url:
        return store
    from outlast.brokers.rabbitmq.bridge_kind import BridgeKind

    return BridgeKind.connect(kind, store, amqp_url, clock=clock, max_body=max_body)


async def bridge_findings(amqp_url: str, topology: Topology | None) -> list[Finding]:
    """Return the findings about the RabbitMQ of a bridge. topology: of the app, None if it is not known.

    Raise ConfigurationError if the URL is wrong.
    """
    from outlast.brokers.rabbitmq.bridge_kind import BridgeKind

    return await BridgeKind.findings(amqp_url, topology)


def library_findings() -> list[Finding]:
    """Return the findings about the libraries that are always installed."""
    return [finding for kind in _kinds() if (finding := kind.library()) is not None]


def embedded_url(file: Path) -> str:
    """Return the URL of the store in this file."""
    return f"sqlite:{file}"


def _scheme(url: str) -> str:
    return url.partition(":")[0] if ":" in url else ""
