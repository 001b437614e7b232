"""The servers of one demo run: the store, which is a file in its directory or isolated on a server, and RabbitMQ."""

from __future__ import annotations

import random
from pathlib import Path

from outlast.brokers.registry import bridge_names, embedded_url, erase_bridge, kind_of
from outlast.core.errors import ConfigurationError
from outlast.core.topology import Topology
from outlast.core.urls import redact_url
from outlast.settings import Settings

__all__ = ["amqp_url", "check_free", "checked", "forget", "forget_events", "keep_at", "objects_at", "toolkit_at"]


def checked(url: str) -> str:
    """Return the URL of a server; raise ConfigurationError if a run cannot have an isolated store there."""
    try:
        kind_of(url, "--url").isolated_url(url, "outlast-demo")
    except ConfigurationError as error:
        raise ConfigurationError(f"{error}; without --url, the demo keeps its jobs in a file") from None
    return url


def keep_at(url: str, directory: Path, rng: random.Random) -> str:
    """Return the URL of the store of one run: a new file when `url` is "", else isolated by a name of the run."""
    if not url:
        return embedded_url(directory / "shop.db")
    return kind_of(url, "--url").isolated_url(url, f"outlast-demo-{rng.randrange(16**8):08x}")


def toolkit_at(folder: Path) -> str:
    """Return the URL of the toolkit's store of one run: a file, also with `--url`.

    The run takes it away for a while, which it must not do to a server that has other users.
    """
    return embedded_url(folder / "toolkit.db")


def objects_at(folder: Path) -> str:
    """Return the URL of the object store of one run."""
    return f"file:{folder}"


async def forget(url: str) -> None:
    """Remove the data of a run from its server; raise StoreError. A file is removed with its directory instead."""
    await kind_of(url).erase(url)


def amqp_url() -> str:
    """Return the URL of the RabbitMQ that the environment names for the shop, "" for none."""
    return Settings.load("shop", Settings()).amqp_url


async def check_free(amqp_url: str, topology: Topology) -> None:
    """Raise ConfigurationError if RabbitMQ has an exchange or a queue of the demo already; raise StoreError.

    The names are those of the shop, also for other clients, so that a run would take the events of another system.
    """
    there = await bridge_names(amqp_url, topology)
    if there:
        raise ConfigurationError(
            f"OUTLAST_AMQP_URL: {redact_url(amqp_url)} has {', '.join(there)}: the demo makes exchanges and queues of "
            "these names and deletes them in the end. Delete them if they are of a run that was killed, or give a "
            "virtual host of its own: rabbitmqctl add_vhost demo; rabbitmqctl set_permissions -p demo USER .* .* .*"
        )


async def forget_events(amqp_url: str, topology: Topology) -> None:
    """Delete the exchanges and queues of a run from RabbitMQ; raise StoreError."""
    await erase_bridge(amqp_url, topology)
