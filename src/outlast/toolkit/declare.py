"""The part of an app that has a toolkit: its pieces, by the names that people know."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from outlast.toolkit.access import Toolkit
    from outlast.toolkit.cache.cache import Cache

__all__ = ["ToolkitMixin"]


class ToolkitMixin:
    """The base of an app that has a toolkit. Nothing is opened before the first use of a piece."""

    if TYPE_CHECKING:

        def _wired(self) -> Any:
            """Return the `Wiring` of the app, which is above this package."""

    @cached_property
    def cache(self) -> Cache:
        """The cache of the app: values by key, with tags, and one computation for all who miss (see `Cache`)."""
        from outlast.toolkit.cache.cache import Cache

        return Cache(self._toolkit, lambda: self._wired().value_forms)

    def _toolkit(self) -> Toolkit:
        """Return the toolkit of the app: pieces keep this method, because a test replaces what it returns."""
        toolkit: Toolkit = self._wired().toolkit
        return toolkit
