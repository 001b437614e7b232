"""The part of an app that has a toolkit: its pieces, by the names that people know."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from outlast.core.durations import Duration
from outlast.core.errors import ConfigurationError
from outlast.core.urls import redact_url
from outlast.settings import Settings
from outlast.toolkit.caches_only import refuse_piece
from outlast.toolkit.stores import keeps_caches_only

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from outlast.core.limits import Rate
    from outlast.toolkit.access import Toolkit
    from outlast.toolkit.boards.board import Leaderboard
    from outlast.toolkit.boards.place import BoardAway
    from outlast.toolkit.boards.unique import UniqueCount
    from outlast.toolkit.cache.cache import Cache
    from outlast.toolkit.limiter.limiter import Limiter
    from outlast.toolkit.limiter.quotas import Algorithm
    from outlast.toolkit.lock.leader import Leader
    from outlast.toolkit.lock.lock import Lock
    from outlast.toolkit.objects.link import ObjectLink
    from outlast.toolkit.objects.objects import Objects
    from outlast.toolkit.sessions.sessions import Sessions

__all__ = ["ToolkitMixin"]


class ToolkitMixin:
    """The base of an app that has a toolkit. Nothing is opened before the first use of a piece."""

    uses_toolkit = False
    """Whether a piece was declared."""

    if TYPE_CHECKING:
        name: str
        explicit_settings: Settings | None

        def _wired(self) -> Any:
            """Return the `Wiring` of the app, which is above this package."""

    @cached_property
    def cache(self) -> Cache:
        """The cache of the app: values by key, with tags, and one computation for all who miss (see `Cache`)."""
        from outlast.toolkit.cache.cache import Cache

        self.uses_toolkit = True
        return Cache(self._toolkit, lambda: self._wired().value_forms, lambda: self._caches_only)

    @cached_property
    def objects(self) -> Objects:
        """The objects of the app: large bytes by key, in a folder, on S3 or on Google Cloud Storage (see `Objects`)."""
        from outlast.toolkit.objects.objects import Objects

        return Objects(self._objects)

    def _objects(self) -> ObjectLink:
        """Return the way to the objects of the app; raise ConfigurationError where no setting leads to any."""
        link: ObjectLink = self._wired().composer.claims.link
        return link

    def _piece(self) -> Callable[[], Toolkit]:
        """Note that a piece is declared; return what it gets the toolkit from. Raise ConfigurationError."""
        self.uses_toolkit = True
        if self._caches_only:
            refuse_piece(self._caches_only)
        return self._toolkit

    @cached_property
    def _caches_only(self) -> str:
        """The URL of the toolkit for messages, if only the cache can be there; "" otherwise."""
        try:
            url = Settings.load(self.name, self.explicit_settings).toolkit_url
        except ConfigurationError:  # raised again at the first use
            return ""
        return redact_url(url) if keeps_caches_only(url) else ""

    def _toolkit(self) -> Toolkit:
        """Return the toolkit of the app: pieces keep this method, because a test replaces what it returns."""
        toolkit: Toolkit = self._wired().toolkit
        return toolkit

    def limiter(
        self,
        limits: str | Rate | Sequence[str | Rate],
        *,
        name: str,
        algorithm: Algorithm = "gcra",
        burst: int | None = None,
        count_refused: bool = False,
        closed: bool = False,
    ) -> Limiter:
        """Declare a limiter: `limits` such as "10/second, 1000/day", each over a period of its own. Does no I/O.

        name: limiters of one name and the same rules share what they count. algorithm: "gcra" spreads requests evenly
        after `burst` at once (of the shortest period; default: its count); "sliding" admits at most the count in any
        period; "fixed" in each period since 1970. count_refused: a refused request costs too, for logins. closed:
        refuse to decide while the store is away, for logins. Raise ConfigurationError for limits that cannot work.
        """
        from outlast.toolkit.limiter.limiter import Limiter  # imports asyncio, which declarations do not need

        return Limiter(
            self._piece(),
            limits,
            name=name,
            algorithm=algorithm,
            burst=burst,
            count_refused=count_refused,
            closed=closed,
        )

    def lock(self, name: str, *, lease: Duration = 10, wait: Duration | None = None) -> Lock:
        """Return a lock: `async with shop.lock("stock:7") as lease:`, or `with`. See `Lock`.

        lease: how long it is kept after its process died; it is renewed as long as the process lives. wait: None for
        ever, 0 for one try. Raise ConfigurationError, InvalidArguments for a name that is no text.
        """
        from outlast.toolkit.lock.lock import Lock  # an app without locks does not need it

        return Lock(self._piece(), name, lease=lease, wait=wait)

    def semaphore(self, name: str, slots: int, *, lease: Duration = 10, wait: Duration | None = None) -> Lock:
        """Return a lock with `slots` holders at once; all its users must give the same number. See `lock`."""
        from outlast.toolkit.lock.lock import Lock

        return Lock(self._piece(), name, kind="semaphore", slots=slots, lease=lease, wait=wait)

    def leader(self, name: str, *, lease: Duration = 10) -> Leader:
        """Return a candidate for a leadership: `await shop.leader("reports").run(work)`. See `Leader`, `lock`."""
        from outlast.toolkit.lock.leader import Leader
        from outlast.toolkit.lock.lock import Lock

        return Leader(Lock(self._piece(), name, kind="leader", lease=lease))

    def sessions(
        self,
        *,
        name: str = "session",
        idle: Duration = "30m",
        absolute: Duration = "12h",
        max_fields: int = 64,
        max_bytes: int = 16 * 1024,
        per_user: int = 20,
    ) -> Sessions:
        """Declare sessions, for `outlast.fastapi.SessionMiddleware` or an edge of your own: see `Sessions`. No I/O.

        name: an id of these sessions is none of others. idle: how long one lives without use; absolute: with it, from
        its begin or its login on. max_fields, max_bytes: what one holds. per_user: of a user; one more login ends the
        oldest. Raise ConfigurationError.
        """
        from outlast.toolkit.sessions.rule import rule_of
        from outlast.toolkit.sessions.sessions import Sessions

        rule = rule_of(idle=idle, absolute=absolute, max_fields=max_fields, max_bytes=max_bytes, per_user=per_user)
        return Sessions(self._piece(), lambda: self._wired().value_forms, rule, name=name)

    def board(
        self,
        name: str,
        *,
        period: Duration | None = None,
        keep: int | None = None,
        max_members: int = 100_000,
        away: BoardAway = "raise",
    ) -> Leaderboard:
        """Return a leaderboard: `await shop.board("best-sellers", period="1d").add("product:7")`. See `Leaderboard`.

        period: "1h", "1d", "week", "month", "year" or a duration of whole seconds, in UTC; a member has one score in
        each. None: one score, which never expires. keep: how many earlier periods can be read (7). max_members: of a
        period; a new one over it raises BoardFull. away: what reads do while the store is away: "raise" ToolkitAway, or
        return what an "empty" board has. Raise ConfigurationError, InvalidArguments for a name that is no text.
        """
        from outlast.toolkit.boards.board import Leaderboard  # an app without boards does not need it

        return Leaderboard(self._piece(), name, period=period, keep=keep, max_members=max_members, away=away)

    def unique(
        self,
        name: str,
        *,
        period: Duration | None = None,
        keep: int | None = None,
        max_members: int = 100_000,
        away: BoardAway = "raise",
    ) -> UniqueCount:
        """Return an exact count of different members: `await shop.unique("visitors", period="1d").add(user)`.

        The options are those of `board`. See `UniqueCount`.
        """
        from outlast.toolkit.boards.unique import UniqueCount

        return UniqueCount(self._piece(), name, period=period, keep=keep, max_members=max_members, away=away)
