"""Objects on S3, on what speaks its protocol, and on Google Cloud Storage, through obstore."""

from __future__ import annotations

import atexit
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from datetime import timedelta
from threading import Event
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import SplitResult, parse_qsl

import obstore
from obstore.exceptions import BaseError
from obstore.store import GCSStore, S3Store

from outlast.core.errors import ConfigurationError, StoreUnavailable
from outlast.core.text import short
from outlast.core.toolkit_errors import ObjectDamaged, ObjectNotFound
from outlast.toolkit.objects.place import Listed, ObjectPlace, Source

if TYPE_CHECKING:
    from obstore import ObjectMeta

__all__ = ["RemoteObjects"]

CONNECT: Final = 5.0
"""Seconds that a connection may take at most."""
EXIT: Final = 0.1
"""Seconds that the threads of obstore have at the exit of the process."""
PART: Final = 1024 * 1024
"""Bytes of a part of a stream, at least."""
_TOLD: Final = 300
"""Characters of what obstore says of an error."""
_OPTIONS: Final = {"s3": ("endpoint", "region", "path_style"), "gs": ("endpoint",)}


class RemoteObjects(ObjectPlace):
    """The objects of a bucket, below a prefix. shown: the URL without its options.

    timeout: seconds of one request; a request that failed is repeated once within them, in obstore. Credentials are
    those that obstore finds in the environment, never a part of the URL.
    """

    def __init__(self, url: SplitResult, shown: str, timeout: float) -> None:
        self.shown = shown
        options = _options(url)
        endpoint = options.get("endpoint", "")
        settings: dict[str, Any] = {
            "prefix": url.path.strip("/") or None,
            "client_options": {
                "allow_http": endpoint.startswith("http://"),
                "timeout": timedelta(seconds=timeout),
                "connect_timeout": timedelta(seconds=min(CONNECT, timeout)),
            },
            "retry_config": {"max_retries": 1, "retry_timeout": timedelta(seconds=timeout)},
        }
        try:
            self._store = _store(url, options, settings)
        except (BaseError, ValueError) as error:
            raise ConfigurationError(_told(error)) from None

    async def put(self, key: str, source: Source, content_type: str) -> None:
        """Put it: in parts, all or none of which become the object, if it is large or comes in parts."""
        attributes = {"Content-Type": content_type} if content_type else None
        with self._errors(key):
            await obstore.put_async(self._store, key, source, attributes=attributes)

    async def get(self, key: str, most: int | None = None) -> bytes:
        """Get it."""
        with self._errors(key):
            found = await obstore.get_async(self._store, key)
            if most is not None and (size := found.meta["size"]) > most:
                raise ObjectDamaged(key, f"it has {size} bytes, more than the {most} that were put")
            return bytes(await found.bytes_async())

    async def stream(self, key: str) -> AsyncIterator[bytes]:
        """Get it in parts."""
        with self._errors(key):
            found = await obstore.get_async(self._store, key)
            async for part in found.stream(min_chunk_size=PART):
                yield bytes(part)

    async def delete(self, key: str) -> None:
        """Delete it."""
        try:
            with self._errors(key):
                await obstore.delete_async(self._store, key)
        except ObjectNotFound:  # Google says so
            return

    async def look(self, key: str) -> Listed | None:
        """Return what is there."""
        try:
            with self._errors(key):
                return _listed(await obstore.head_async(self._store, key))
        except ObjectNotFound:
            return None

    async def pages(self, prefix: str) -> AsyncIterator[list[Listed]]:
        """Yield the pages that the server returns."""
        with self._errors(prefix):
            async for page in obstore.list(self._store, prefix=prefix.rstrip("/")):
                yield [_listed(each) for each in page]

    async def url(self, key: str, seconds: float) -> str:
        """Sign a link with the credentials of this process, whose own end may come sooner."""
        with self._errors(key):
            return await obstore.sign_async(self._store, "GET", key, timedelta(seconds=seconds))

    @contextmanager
    def _errors(self, key: str) -> Iterator[None]:
        _check_process()
        try:
            yield
        except FileNotFoundError:
            raise ObjectNotFound(key) from None
        except BaseError as error:  # refused credentials too: they are corrected, and the calls made again
            raise StoreUnavailable(f"{self.shown}: {_told(error)}") from None


_used_by: list[int] = []
"""The process that has used obstore first, which has its threads."""


def _check_process() -> None:
    """Raise ConfigurationError in a fork of a process that has used obstore: each call would wait for its deadline."""
    if not _used_by:
        _used_by.append(os.getpid())
        atexit.register(_let_threads_end)
    elif _used_by[0] != os.getpid():
        raise ConfigurationError(
            "objects: this process was forked from one that had used its object store, whose threads it does not have: "
            "fork before the first use, or start processes with multiprocessing's 'spawn' or 'forkserver'"
        )


def _let_threads_end() -> None:
    """Let the threads of obstore give back what they hold of Python, before the interpreter ends.

    One that does so later aborts the process (SIGABRT): PyO3/pyo3-async-runtimes, issue 40. They have nothing to wait
    for, so that any time is enough in which they get a turn.
    """
    Event().wait(EXIT)


def _options(url: SplitResult) -> dict[str, str]:
    known = _OPTIONS[url.scheme]
    options = dict(parse_qsl(url.query, keep_blank_values=True))
    if unknown := sorted(options.keys() - set(known)):
        raise ConfigurationError(
            f"{unknown[0]} is no option of such a URL: give {', '.join(known)}; credentials come from the environment "
            "(docs/toolkit/objects.md)"
        )
    return options


def _store(url: SplitResult, options: dict[str, str], settings: dict[str, Any]) -> S3Store | GCSStore:
    bucket = url.netloc
    if url.scheme == "s3":
        if options.get("path_style", "1") not in ("0", "1"):
            raise ConfigurationError("path_style: give 1 for https://HOST/BUCKET, 0 for https://BUCKET.HOST")
        for name in ("endpoint", "region"):
            if name in options:
                settings[name] = options[name]
        return S3Store(bucket, virtual_hosted_style_request=options.get("path_style") == "0", **settings)
    if "endpoint" in options:
        settings["config"] = {"base_url": options["endpoint"]}
    return GCSStore(bucket, **settings)


def _listed(found: ObjectMeta) -> Listed:
    return Listed(found["path"], found["size"], found["last_modified"].timestamp())


def _told(error: Exception) -> str:
    """Return the first line of an error: the others are obstore's own structures."""
    return short(str(error).partition("\n")[0], _TOLD)
