"""A store of one kind for the block, for proofs that take its name on their command line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.support.servers.redis_server import RedisServer

__all__ = ["KINDS", "store_url"]

KINDS: Final = ("sqlite", "redis")


@contextmanager
def store_url(kind: str, folder: Path) -> Iterator[str]:
    """Yield the URL of a file in the folder, or of a Redis that ends with the block."""
    if kind == "sqlite":
        yield f"sqlite:{folder}/jobs.db"
        return
    server = RedisServer()
    try:
        server.start()
        yield server.url
    finally:
        server.remove()
