"""Where the jobs of one demo run are kept: a file in its directory, or a namespace of its own on a Redis server."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Final

from outlast.core.errors import ConfigurationError

__all__ = ["checked", "forget", "keep_at"]

SCHEMES: Final = ("redis", "rediss")
PAGE: Final = 500
"""Keys that are removed at a time."""


def checked(url: str) -> str:
    """Return the URL of a Redis server.

    Raise ConfigurationError for anything else, and for a namespace: a second run would meet the orders of the first.
    """
    if url.partition(":")[0].partition("+")[0] not in SCHEMES:
        raise ConfigurationError("--url: give 'redis://HOST'; without it, the demo keeps its jobs in a file")
    if "namespace=" in url.partition("?")[2]:
        raise ConfigurationError("--url: leave namespace= out: each run has one of its own")
    try:
        from outlast.brokers.redis.address import Address
    except ModuleNotFoundError as error:
        raise ConfigurationError(f"--url: pip install 'outlast[redis]' ({error})") from None
    Address.of(url)
    return url


def keep_at(url: str, directory: Path, rng: random.Random) -> str:
    """Return the URL for one run: of a new file when `url` is "", else with a namespace that no other run has."""
    if not url:
        return f"sqlite:{directory / 'shop.db'}"
    return f"{url}{'&' if '?' in url else '?'}namespace=outlast-demo-{rng.randrange(16**8):08x}"


async def forget(url: str) -> None:
    """Remove every key of a run from its server; nothing for a file, which goes with its directory.

    A Cluster keeps them: they are some 300 kB, under a namespace that begins with "outlast-demo-".
    """
    if url.startswith("sqlite:"):
        return
    from outlast.brokers.redis.address import Address
    from outlast.brokers.redis.link import RedisClient

    address = Address.of(url)
    if address.kind == "cluster":
        return
    link = RedisClient(address)
    await link.open()
    try:
        cursor = "0"
        while True:
            after, keys = await link.command("SCAN", cursor, "MATCH", f"{{{address.namespace}[:}}]*", "COUNT", PAGE)
            if keys:
                await link.command("UNLINK", *keys)
            cursor = after.decode()
            if cursor == "0":
                return
    finally:
        await link.close()
