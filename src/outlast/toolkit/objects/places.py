"""The places of objects, chosen by URL."""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

from outlast.core.clock import Clock
from outlast.core.errors import ConfigurationError
from outlast.core.text import is_utf8
from outlast.core.urls import redact_url
from outlast.toolkit.objects.place import ObjectPlace

__all__ = ["connect_objects", "objects_url"]

_GIVE: Final = (
    "give 'file:PATH', 's3://BUCKET/PREFIX?region=...', 'gs://BUCKET/PREFIX' or 'memory:'; for a server with the "
    "protocol of S3, 's3://BUCKET/PREFIX?endpoint=https://HOST&region=...'"
)
_EXTRA: Final = {"s3": "s3", "gs": "gcs"}


def objects_url(url: str, jobs_url: str) -> str:
    """Return the URL of the objects. url: of the setting, "" for one that follows from that of the jobs.

    Beside the jobs' file "outlast.db" that is the folder "outlast-objects". "" where none follows: a folder of one host
    is no place for the objects of jobs on a server.
    """
    if url:
        return url
    if jobs_url.startswith("sqlite:"):
        path = jobs_url.removeprefix("sqlite:")
        stem, dot, ending = path.rpartition(".")
        return f"file:{path if not dot or '/' in ending else stem}-objects"
    return "memory:" if jobs_url.startswith("memory:") else ""


def connect_objects(url: str, clock: Clock, timeout: float) -> ObjectPlace:
    """Return the place of a URL. No I/O; raise ConfigurationError. timeout: seconds of a request."""
    try:
        return _connected(url, clock, timeout)
    except ConfigurationError as error:
        raise ConfigurationError(
            f"objects_url={redact_url(url)!r} (Settings or OUTLAST_OBJECTS_URL): {error}"
        ) from None


def _connected(url: str, clock: Clock, timeout: float) -> ObjectPlace:
    scheme, _, rest = url.partition(":")
    if scheme == "memory":
        from outlast.toolkit.objects.memory import ObjectMemory

        return ObjectMemory(clock)
    if scheme == "file":
        from outlast.toolkit.objects.folder import ObjectFolder

        return ObjectFolder(_folder(rest))
    if scheme not in _EXTRA or not rest.startswith("//"):
        raise ConfigurationError(_GIVE)
    parts = urlsplit(url)
    if "@" in parts.netloc or not parts.netloc:
        raise ConfigurationError(f"a bucket stands there, and credentials come from the environment: {_GIVE}")
    try:
        from outlast.toolkit.objects.remote import RemoteObjects
    except ModuleNotFoundError as error:
        raise ConfigurationError(f"pip install 'outlast[{_EXTRA[scheme]}]' ({error})") from None
    return RemoteObjects(parts, f"{scheme}://{parts.netloc}{parts.path}", timeout)


def _folder(path: str) -> str:
    if path.startswith("//"):
        if not path.startswith("///"):
            raise ConfigurationError("'file://' takes no host: give 'file:relative' or 'file:///absolute'")
        path = path[2:]
    if not path or "\0" in path or not is_utf8(path):
        raise ConfigurationError("name a folder, such as 'file:/srv/shop/objects'")
    return path
