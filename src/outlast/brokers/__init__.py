"""The stores: each keeps the promise of core.protocols in its own folder; `connect` makes the one that a URL names."""

from __future__ import annotations

from outlast.core.clock import Clock
from outlast.core.errors import ConfigurationError
from outlast.core.store.store import Store
from outlast.core.text import redact_url

__all__ = ["connect", "sqlite_path"]


def connect(url: str, *, clock: Clock, max_body: int) -> Store:
    """Return the store that `url` names, not opened. No I/O; ConfigurationError if it is wrong.

    "memory:", "sqlite:PATH", or "redis://..." (outlast.brokers.redis.address.Address.of, and docs/redis.md).
    "sqlite:jobs.db" and "sqlite:dir/jobs.db" are relative to the working directory; "sqlite:/srv/jobs.db" and
    "sqlite:///srv/jobs.db" are absolute.
    """
    scheme, colon, _ = url.partition(":")
    if colon and scheme == "memory":
        from outlast.brokers.memory import MemoryStore

        return Store.of(MemoryStore(clock, max_body=max_body), url)
    if colon and scheme == "sqlite":
        from outlast.brokers.sqlite import SqliteStore

        return Store.of(SqliteStore(sqlite_path(url), clock=clock, max_body=max_body), url)
    if colon and scheme.split("+")[0] in ("redis", "rediss"):
        try:
            from outlast.brokers.redis import RedisStore
        except ModuleNotFoundError as error:
            raise ConfigurationError(f"url='{scheme}:...': pip install 'outlast[redis]' ({error})") from None

        return Store.of(RedisStore(url, clock=clock, max_body=max_body), redact_url(url))
    # Without the rest, which may hold a password.
    raise ConfigurationError(
        f"url={scheme + colon!r}... (Settings or OUTLAST_URL): give 'sqlite:PATH', 'redis://HOST' or 'memory:'"
    )


def sqlite_path(url: str) -> str:
    """Return the file that a "sqlite:" URL names; raise ConfigurationError when it names none."""
    path = url.removeprefix("sqlite:")
    if path.startswith("//"):
        if not path.startswith("///"):
            raise ConfigurationError(
                f"url={url!r}: 'sqlite://' takes no host; give 'sqlite:relative.db' or 'sqlite:///absolute.db'"
            )
        path = path[2:]
    if path == ":memory:":
        raise ConfigurationError(f"url={url!r}: jobs that live in memory are 'memory:', for tests")
    if not path or path.endswith("/"):
        raise ConfigurationError(f"url={url!r}: name a file, such as 'sqlite:outlast.db'")
    return path
