"""The sessions of an app: opened by the id that a client has, listed and revoked by the user."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from outlast.aio.portal import portal
from outlast.core.errors import ConfigurationError, InvalidArguments
from outlast.core.text import shown
from outlast.core.toolkit_errors import ToolkitAway
from outlast.toolkit.access import Toolkit
from outlast.toolkit.cache.values import ValueForms
from outlast.toolkit.metrics import SESSION_OPERATIONS, degraded, series_of
from outlast.toolkit.sessions.forms import sessions_of
from outlast.toolkit.sessions.ids import digest_of_id, is_id
from outlast.toolkit.sessions.rule import SessionRule
from outlast.toolkit.sessions.session import Session
from outlast.toolkit.sessions.store import SessionRecord, SessionStore
from outlast.toolkit.sessions.values import FLASH, FieldForm, form_for, name_of, user_text
from outlast.toolkit.store import ToolkitStore

__all__ = ["Sessions", "UserSession"]

T = TypeVar("T")

_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}\Z")
_HANDLE: Final = re.compile(r"[0-9a-f]{64}\Z")
_NO_HANDLE: Final = "0" * 64
_AWAY: Final = degraded("session", "anonymous", "raised")
_RESULTS: Final = {
    "open": ("ok", "none", "away"),
    "save": ("ok", "conflict", "ended", "full", "away"),
    **dict.fromkeys(("end", "flash", "list", "revoke"), ("ok", "away")),
}
for _operation, _results in _RESULTS.items():
    series_of(SESSION_OPERATIONS, _operation, results=_results)


@dataclass(frozen=True, slots=True)
class UserSession:
    """A session in a list. Times are seconds since 1970. handle: for `Sessions.revoke`; it is no id.

    since: the login; seen: the last use that was noted, at most a tenth of the idle time ago when it was used since;
    ends: its absolute end. fields: as plain data.
    """

    handle: str
    user: str
    since: float
    seen: float
    ends: float
    fields: dict[str, Any]


class Sessions:
    """Sessions on the store of the app's toolkit; `shop.sessions()` declares them.

    A client has an id of 256 random bits, the store its SHA-256 only. While the store is away, sessions are anonymous
    when they are read, and raise ToolkitAway when they are written. docs/toolkit/sessions.md says what is promised.
    """

    def __init__(
        self, toolkit: Callable[[], Toolkit], forms: Callable[[], ValueForms], rule: SessionRule, *, name: object
    ) -> None:
        if not isinstance(name, str) or not _NAME.match(name):
            raise ConfigurationError(
                f"sessions(name={shown(name)}): give 1 to 64 letters, digits or _ - such as name='admin'"
            )
        self.name: Final = name
        self.rule: Final = rule
        self._toolkit = toolkit
        self._value_forms = forms
        self._forms: dict[Any, FieldForm] = {}

    async def open(self, id: str | None) -> Session:  # noqa: A002
        """Return the session of an id, an anonymous one for None and for what is no id of a session.

        An anonymous session is stored when it is saved for the first time, under a new id. Raise no ToolkitAway: see
        `Session.is_away`.
        """
        if id is None or not is_id(id):
            SESSION_OPERATIONS.of("open", "none").add()
            return Session(self, "", None)
        digest = digest_of_id(self.name, id)
        try:
            record = await self.use("open", lambda form: form.load(digest, self.rule))
        except ToolkitAway as error:
            return Session(self, "", None, away=error)
        SESSION_OPERATIONS.of("open", "none" if record is None else "ok").add()
        return Session(self, digest, record)

    async def of_user(self, user: str) -> list[UserSession]:
        """Return the sessions of a user, in the order of their logins; raise ToolkitAway."""
        stored = self.stored_user(user_text(user))
        return [self._told(*each) for each in await self.counted("list", lambda form: form.of_user(stored))]

    async def revoke(self, handle: str) -> bool:
        """End the session of a handle; return whether there was one. Raise ToolkitAway: then it may go on."""
        if not _HANDLE.match(str(handle)):
            raise InvalidArguments(f"handle={shown(handle)}: give that of a session in a list of `of_user`")
        return await self.counted("revoke", lambda form: form.end(handle))

    async def revoke_user(self, user: str, *, keep: Session | None = None) -> int:
        """End the sessions of a user, but `keep`; return how many. Raise ToolkitAway: then they may go on.

        A session that is logged in meanwhile may go on.
        """
        stored, kept = self.stored_user(user_text(user)), (keep.handle if keep is not None else "") or _NO_HANDLE
        return await self.counted("revoke", lambda form: form.end_user(stored, kept))

    # From blocking code

    def open_sync(self, id: str | None) -> Session:  # noqa: A002
        """Do as `open`, in blocking code."""
        return self.blocking(lambda: self.open(id))

    def of_user_sync(self, user: str) -> list[UserSession]:
        """Do as `of_user`, in blocking code."""
        return self.blocking(lambda: self.of_user(user))

    def revoke_sync(self, handle: str) -> bool:
        """Do as `revoke`, in blocking code."""
        return self.blocking(lambda: self.revoke(handle))

    def revoke_user_sync(self, user: str, *, keep: Session | None = None) -> int:
        """Do as `revoke_user`, in blocking code."""
        return self.blocking(lambda: self.revoke_user(user, keep=keep))

    # For a session

    async def use(self, operation: str, call: Callable[[SessionStore], Awaitable[T]]) -> T:
        """Return what a call to the store returns, for its caller to count; raise ToolkitAway, StoreError."""

        async def called(store: ToolkitStore) -> T:
            return await call(sessions_of(store))

        try:
            return await self._toolkit().use(called)
        except ToolkitAway:
            SESSION_OPERATIONS.of(operation, "away").add()
            _AWAY["anonymous" if operation in ("open", "flash") else "raised"].add()
            raise

    async def counted(self, operation: str, call: Callable[[SessionStore], Awaitable[T]]) -> T:
        """Do the same, and count it as done."""
        found = await self.use(operation, call)
        SESSION_OPERATIONS.of(operation, "ok").add()
        return found

    def blocking(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Return what `work()` returns; raise WrongThread on a thread that runs an event loop."""

        async def kept() -> T:
            portal().at_stop(self._toolkit().close)
            return await work()

        return portal().run(kept)

    def now(self) -> float:
        """Return the wall time."""
        return self._toolkit().clock.time()

    def form(self, hint: Any) -> FieldForm:
        """Return the form of values of a type; raise ConfigurationError."""
        try:
            found = self._forms.get(hint)
        except TypeError:  # marks of it cannot be hashed
            return form_for(hint, self._value_forms())
        if found is None:
            found = self._forms[hint] = form_for(hint, self._value_forms())
        return found

    def stored_user(self, user: str) -> str:
        """Return a user as the store has it: those of other sessions are others."""
        return f"{self.name}:{user}"

    def user_of(self, stored: str) -> str:
        """Return the user of what the store has."""
        return stored.removeprefix(f"{self.name}:")

    def _told(self, digest: str, record: SessionRecord) -> UserSession:
        form = self.form(Any)
        fields = {name_of(name): form.read(body, None) for name, body in record.fields.items() if name[0] != FLASH}
        user = self.user_of(record.user or "")
        return UserSession(digest, user, record.since, record.seen, record.ends, fields)
