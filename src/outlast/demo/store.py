"""Where the jobs of one demo run are kept: a file in its directory, or an isolated store on a server."""

from __future__ import annotations

import random
from pathlib import Path

from outlast.brokers.registry import embedded_url, kind_of

__all__ = ["checked", "forget", "keep_at"]


def checked(url: str) -> str:
    """Return the URL of a server where a run can have a store of its own; raise ConfigurationError for another."""
    kind_of(url, "--url").isolated_url(url, "outlast-demo")
    return url


def keep_at(url: str, directory: Path, rng: random.Random) -> str:
    """Return the URL for one run: of a new file when `url` is "", else isolated by a name that no other run has."""
    if not url:
        return embedded_url(directory / "shop.db")
    return kind_of(url, "--url").isolated_url(url, f"outlast-demo-{rng.randrange(16**8):08x}")


async def forget(url: str) -> None:
    """Remove all that a run has kept at its server; raise StoreError. Nothing for a file: its directory goes."""
    await kind_of(url).erase(url)
