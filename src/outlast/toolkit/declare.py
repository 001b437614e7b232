"""The part of an app that has a toolkit: its pieces, by the names that people know."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from outlast.toolkit.access import Toolkit

__all__ = ["ToolkitMixin"]


class ToolkitMixin:
    """The base of an app that has a toolkit. Nothing is opened before the first use of a piece."""

    if TYPE_CHECKING:

        def _wired(self) -> Any:
            """Return the `Wiring` of the app, which is above this package."""

    def _toolkit(self) -> Toolkit:
        """Return the toolkit of the app: pieces keep this method, because a test replaces what it returns."""
        toolkit: Toolkit = self._wired().toolkit
        return toolkit
