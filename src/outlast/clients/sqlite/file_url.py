"""The path of the SQLite file that a "sqlite:" URL names; every user of such a file reads its URL here."""

from __future__ import annotations

import os

from outlast.core.errors import ConfigurationError
from outlast.core.text import is_utf8
from outlast.core.urls import redact_url

__all__ = ["begun_in", "sqlite_path"]


def sqlite_path(url: str) -> str:
    """Return the file that a URL names; raise ConfigurationError when it names none.

    "sqlite:jobs.db" and "sqlite:dir/jobs.db" are relative to the working directory; "sqlite:/srv/jobs.db" and
    "sqlite:///srv/jobs.db" are absolute.
    """
    path = url.removeprefix("sqlite:")
    if path.startswith("//"):
        if not path.startswith("///"):
            raise ConfigurationError(
                f"url={redact_url(url)!r}: 'sqlite://' takes no host; give 'sqlite:relative.db' or 'sqlite:///absolute.db'"
            )
        path = path[2:]
    if path == ":memory:":
        raise ConfigurationError(f"url={redact_url(url)!r}: to keep jobs in memory, for tests, use 'memory:'")
    if not path or path.endswith("/"):
        raise ConfigurationError(f"url={redact_url(url)!r}: name a file, such as 'sqlite:outlast.db'")
    if "\0" in path or not is_utf8(path):
        raise ConfigurationError(
            f"url={redact_url(url)!r}: SQLite opens no path with NUL or with bytes that are not UTF-8: name another one"
        )
    return path


def begun_in(folder: str, url: str) -> str:
    """Return the URL of a file with its relative path put after a folder; as it is, if it names no file."""
    path = url.removeprefix("sqlite:")
    if not path or path.startswith(("/", ":memory:")):
        return url
    return f"sqlite:{os.path.join(folder, path)}"  # noqa: PTH118 - what is wrong about it is told by sqlite_path
