"""Refuses what needs more than a cache, where the toolkit is on Memcached."""

from __future__ import annotations

from typing import NoReturn

from outlast.core.errors import ConfigurationError

__all__ = ["refuse_piece", "refuse_tags"]


def refuse_piece(shown: str) -> NoReturn:
    """Raise the error for a piece that has no form on the store `shown`."""
    raise ConfigurationError(
        f"toolkit_url={shown!r} (Settings or OUTLAST_TOOLKIT_URL): Memcached keeps a cache only, as it may remove "
        "any item at any time: give 'redis://HOST' or 'sqlite:PATH', or declare this piece on an app with one of these"
    )


def refuse_tags(shown: str) -> NoReturn:
    """Raise the error for tags of the cache on the store `shown`."""
    raise ConfigurationError(
        f"toolkit_url={shown!r} (Settings or OUTLAST_TOOLKIT_URL): the cache has no tags on Memcached: leave out tags= "
        "and delete by key, or give 'redis://HOST'"
    )
