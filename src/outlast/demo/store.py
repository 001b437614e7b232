"""The store of one demo run: an SQLite file in its directory, or an isolated store on a server."""

from __future__ import annotations

import random
from pathlib import Path

from outlast.brokers.registry import embedded_url, kind_of
from outlast.core.errors import ConfigurationError

__all__ = ["checked", "forget", "keep_at"]


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


async def forget(url: str) -> None:
    """Remove the data of a run from its server; raise StoreError. A file is removed with its directory instead."""
    await kind_of(url).erase(url)
