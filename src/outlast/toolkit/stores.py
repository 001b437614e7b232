"""The stores of the toolkit, chosen by URL."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from outlast.clients.sqlite.file_url import begun_in, sqlite_path
from outlast.core.clock import Clock
from outlast.core.errors import ConfigurationError
from outlast.core.urls import redact_url
from outlast.toolkit.store import ToolkitStore

__all__ = ["connect_toolkit", "keeps_caches_only", "missing_file", "share_a_server", "toolkit_url"]

_GIVE: Final = "give 'sqlite:PATH', 'redis://HOST', 'memory:', or for a cache 'memcached://HOST'"


def toolkit_url(url: str, jobs_url: str, *, folder: str = "") -> str:
    """Return the URL of the toolkit's store. url: of the setting, "" for one that follows from that of the jobs.

    Beside the jobs' file "outlast.db" that is "outlast-toolkit.db". folder: where a relative path begins. Raise
    ConfigurationError where none follows.
    """
    found = url or _beside(jobs_url)
    return begun_in(folder, found) if _is_file(found) else found


def _beside(jobs_url: str) -> str:
    if _is_file(jobs_url):
        stem, dot, ending = jobs_url.rpartition(".")
        if not dot or "/" in ending:
            return f"{jobs_url}-toolkit"
        return f"{stem}-toolkit.{ending}"
    if jobs_url.startswith(("amqp:", "amqps:")):
        raise ConfigurationError(
            f"toolkit_url (Settings or OUTLAST_TOOLKIT_URL): RabbitMQ cannot keep its data: {_GIVE}"
        )
    return jobs_url


def connect_toolkit(url: str, clock: Clock) -> ToolkitStore:
    """Return the store of a URL, not opened. No I/O; raise ConfigurationError if the URL is wrong."""
    try:
        return _connected(url, clock)
    except ConfigurationError as error:
        raise ConfigurationError(
            f"toolkit_url={redact_url(url)!r} (Settings or OUTLAST_TOOLKIT_URL): {error}"
        ) from None


def _connected(url: str, clock: Clock) -> ToolkitStore:
    scheme = url.partition(":")[0]
    if scheme == "memory":
        from outlast.toolkit.memory import ToolkitMemory

        return ToolkitMemory(clock)
    if _is_file(url):
        from outlast.toolkit.file import ToolkitFile
        from outlast.toolkit.tidies import tidies

        return ToolkitFile(sqlite_path(url), clock, tidies=tidies())
    if _is_redis(url):
        try:
            from outlast.clients.redis.address import Address
            from outlast.toolkit.server import ToolkitServer
        except ModuleNotFoundError as error:
            raise ConfigurationError(f"pip install 'outlast[redis]' ({error})") from None
        return ToolkitServer(Address.of(url))
    if keeps_caches_only(url):
        try:
            from outlast.clients.memcached.address import MemcachedAddress
            from outlast.toolkit.memcached import ToolkitMemcached
        except ModuleNotFoundError as error:
            raise ConfigurationError(f"pip install 'outlast[memcached]' ({error})") from None
        return ToolkitMemcached(MemcachedAddress.of(url), clock)
    raise ConfigurationError(_GIVE)


def missing_file(url: str) -> str:
    """Return the file of a URL that is still to be made; "" if it is there, or the URL leads to no file."""
    path = sqlite_path(url) if _is_file(url) else ""
    return path if path and not Path(path).exists() else ""


def share_a_server(url: str, jobs_url: str) -> bool:
    """Return whether two URLs lead to one Redis server: what fills its memory stops both."""
    try:
        from outlast.clients.redis.address import Address
    except ModuleNotFoundError:
        return False
    endpoints = [set(Address.of(each).endpoints) for each in (url, jobs_url) if _is_redis(each)]
    return len(endpoints) == 2 and not endpoints[0].isdisjoint(endpoints[1])


def keeps_caches_only(url: str) -> bool:
    """Return whether a URL leads to a store on which no piece but the cache can be."""
    return url.partition(":")[0] == "memcached"


def _is_file(url: str) -> bool:
    return url.startswith("sqlite:")


def _is_redis(url: str) -> bool:
    return url.partition(":")[0].partition("+")[0] in ("redis", "rediss")
