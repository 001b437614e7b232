"""The part of an app that has a toolkit: its pieces, by the names that people know."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from outlast.core.durations import Duration

if TYPE_CHECKING:
    from outlast.toolkit.access import Toolkit
    from outlast.toolkit.lock.leader import Leader
    from outlast.toolkit.lock.lock import Lock

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

    def lock(self, name: str, *, lease: Duration = 10, wait: Duration | None = None) -> Lock:
        """Return a lock: `async with shop.lock("stock:7") as lease:`, or `with`. See `Lock`.

        lease: how long it is kept after its process died; it is renewed as long as the process lives. wait: None for
        ever, 0 for one try. Raise ConfigurationError, InvalidArguments for a name that is no text.
        """
        from outlast.toolkit.lock.lock import Lock  # an app without locks does not need it

        return Lock(self._toolkit, name, lease=lease, wait=wait)

    def semaphore(self, name: str, slots: int, *, lease: Duration = 10, wait: Duration | None = None) -> Lock:
        """Return a lock with `slots` holders at once; all its users must give the same number. See `lock`."""
        from outlast.toolkit.lock.lock import Lock

        return Lock(self._toolkit, name, kind="semaphore", slots=slots, lease=lease, wait=wait)

    def leader(self, name: str, *, lease: Duration = 10) -> Leader:
        """Return a candidate for a leadership: `await shop.leader("reports").run(work)`. See `Leader`, `lock`."""
        from outlast.toolkit.lock.leader import Leader
        from outlast.toolkit.lock.lock import Lock

        return Leader(Lock(self._toolkit, name, kind="leader", lease=lease))
