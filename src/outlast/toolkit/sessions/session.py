"""A session as one request sees it: read once, changed here, and saved in one step."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from copy import deepcopy
from secrets import token_hex
from typing import TYPE_CHECKING, Any, Final, TypeVar

from msgspec import structs

from outlast.core.errors import ConfigurationError, InvalidArguments, StoreError
from outlast.core.toolkit_errors import SessionConflict, SessionEnded, SessionFull, ToolkitAway
from outlast.toolkit.metrics import SESSION_OPERATIONS
from outlast.toolkit.sessions.fields import ABSENT, SessionFields
from outlast.toolkit.sessions.ids import digest_of_id, new_id
from outlast.toolkit.sessions.store import SessionChange, SessionRecord, SessionSaved, SessionStore
from outlast.toolkit.sessions.values import FLASH, name_of, user_text

if TYPE_CHECKING:
    from outlast.toolkit.sessions.sessions import Sessions

__all__ = ["Session"]

T = TypeVar("T")

ATTEMPTS: Final = 100
"""How often `update` tries. Of all that change a field at once, one succeeds each time."""


class Session(SessionFields):
    """The session of one request: `session["basket"]`, `session.user`. Made by `Sessions.open`, or by the middleware.

    Nothing is stored before `save`, which the middleware calls before the first byte of an answer, and which writes the
    changed fields only. A field that this request has read and then changed must still be as it was read, else
    SessionConflict; of one that it has not read the last write counts. A value that is changed in place counts too.
    After an error of `save` the changes are dropped, and the session shows what is stored.

    issued: the id that the client must get: None for no change, "" when it must forget the one that it has.
    """

    def __init__(
        self, sessions: Sessions, digest: str, record: SessionRecord | None, *, away: ToolkitAway | None = None
    ) -> None:
        self._sessions = sessions
        self._moved = record is not None and record.moved
        self._record = None if self._moved else record
        self._digest = digest if self._record is not None else ""
        self._away = away
        self._failure: StoreError | None = None
        self._fixed = ""
        self._to_end: tuple[str, SessionRecord] | None = None
        self._saving = asyncio.Lock()
        self.issued: str | None = None
        self._read = {}
        self._drop_changes()

    def _drop_changes(self) -> None:
        self._drop_writes()
        self._rotates = self._clears = False
        self._login: str | None = None

    def _stored_fields(self) -> dict[str, bytes]:
        return {} if self._record is None or self._clears else self._record.fields

    # What it is

    @property
    def user(self) -> str | None:
        """Who has logged in; None for an anonymous session, and while the store is away."""
        stored = None if self._record is None else self._record.user
        return self._login or (None if stored is None else self._sessions.user_of(stored))

    @property
    def exists(self) -> bool:
        """Whether the session is stored."""
        return self._record is not None

    @property
    def is_away(self) -> bool:
        """Whether it could not be read, so that it looks anonymous and cannot be written."""
        return self._away is not None

    @property
    def failure(self) -> StoreError | None:
        """The error of the store for which it cannot be written, or was not at the last `save`."""
        return self._away or self._failure

    @property
    def handle(self) -> str:
        """Its handle for `Sessions.revoke`, "" before it is stored. It is no id, and another one after a rotation."""
        return self._digest

    @property
    def since(self) -> float | None:
        """When the user logged in, or the session was made: seconds since 1970; None before it is stored."""
        return None if self._record is None else self._record.since

    @property
    def ends(self) -> float | None:
        """Its absolute end: seconds since 1970; None before it is stored."""
        return None if self._record is None else self._record.ends

    @property
    def is_changed(self) -> bool:
        """Whether `save` would write."""
        self._collect()
        return self._to_end is not None or self._change() is not None

    # Who it belongs to

    def login(self, user: str) -> None:
        """Let `user` be logged in, in a session with a new id; the old one is void when this is saved.

        The fields are kept, unless another user was logged in. The absolute time begins again. Raise InvalidArguments
        for what is no text of 1 to 200 bytes; ToolkitAway if the session could not be read.
        """
        text = user_text(user)
        self._check_away()
        if self._moved:  # a login needs nothing of the session whose id was replaced
            self._moved = False
        if self.user not in (None, text):
            self._drop_changes()
            self._read.clear()
            self._clears = True
        self._login, self._rotates = text, True

    def rotate(self) -> None:
        """Give the session a new id; the old one is void when this is saved. Without a session nothing is done."""
        self._check_writable()
        self._rotates = True

    def end(self) -> None:
        """End the session, as a logout does; changes after that make a new one.

        Raise SessionEnded if its id was replaced by another request, whose session would go on.
        """
        self._check_writable()
        if self._record is not None:
            self._to_end = self._digest, self._record
        self._record, self._digest = None, ""
        self._drop_changes()
        self._read.clear()

    # Flash values

    def flash(self, value: Any) -> None:
        """Keep a value of plain data until `take_flashes` returns it, in this request or a later one."""
        self._check_writable()
        name = f"{FLASH}{int(self._sessions.now() * 1e6):020d}{len(self._writes):04d}{token_hex(4)}"
        self._writes[name] = self._sessions.form(Any).write("flash", value, self._sessions.rule.max_bytes)

    async def take_flashes(self) -> list[Any]:
        """Return the flash values in their order, and forget them: of all requests, one gets each.

        While the store is away, those that are stored stay there, unless the answer of the store was lost.
        """
        found = {name: body for name, body in self._writes.items() if name[0] == FLASH and body is not None}
        for name in found:
            del self._writes[name]
        if any(name[0] == FLASH for name in self._stored_fields()):
            try:
                taken = await self._sessions.counted("flash", lambda form: form.take(self._digest, FLASH))
            except ToolkitAway:
                taken = {}
            else:
                self._forget_flashes()
            found |= taken
        form = self._sessions.form(Any)
        values = [form.read(body, ABSENT) for _, body in sorted(found.items())]
        return [value for value in values if value is not ABSENT]

    def _forget_flashes(self) -> None:
        if self._record is not None:
            self._record.fields = {name: body for name, body in self._record.fields.items() if name[0] != FLASH}

    # Saving

    async def save(self) -> None:
        """Store the changes, all of them or none; return at once if there are none.

        Raise SessionEnded when the session was ended or its id replaced since it was read, SessionConflict when another
        request has changed a field that this one has read and changed, SessionFull over the bounds, ToolkitAway.
        """
        async with self._saving:
            await self._save()

    async def _save(self) -> None:
        try:
            self._collect()
            if self._to_end is not None:
                await self._end(self._to_end[0])
        except (StoreError, SessionEnded, InvalidArguments):  # InvalidArguments: a value was changed in place
            self._drop_changes()
            raise
        change = self._change()
        if change is None:
            return
        if self._moved:  # changed while another save found that: it must begin no session
            self._drop_changes()
            raise SessionEnded
        await self._store(change)

    def discard(self) -> None:
        """Drop the changes that are not saved, an `end` too."""
        self._drop_changes()
        if self._to_end is not None:
            self._digest, self._record = self._to_end
            self._to_end = None

    async def update(self, name: str, function: Callable[[Any], Any], *, default: Any = None, type: Any = Any) -> Any:
        """Set a field to `function(value)`, and return that, saved: of many at once none is lost.

        function: called again with the present value when another request was faster; a plain function without other
        effects. default: the value of a missing field. Other changes are saved first. Raise what `save` raises;
        SessionConflict only after 100 attempts, or of other fields that other tasks of this request change meanwhile.
        """
        async with self._saving:  # tasks of one request take turns: each is told of its own save
            await self._save()
            attempt = 1
            while True:
                made = function(self.get(name, deepcopy(default), type=type))
                self.set(name, made, type=type)
                try:
                    await self._save()
                except SessionConflict as error:
                    if attempt == ATTEMPTS or {*error.fields} != {name}:  # other tasks of the request change others
                        raise
                    attempt += 1
                else:
                    return made

    # From blocking code

    def save_sync(self) -> None:
        """Do as `save`, in blocking code."""
        self._sessions.blocking(self.save)

    def update_sync(self, name: str, function: Callable[[Any], Any], *, default: Any = None, type: Any = Any) -> Any:
        """Do as `update`, in blocking code; the function is called in another thread."""
        return self._sessions.blocking(lambda: self.update(name, function, default=default, type=type))

    def take_flashes_sync(self) -> list[Any]:
        """Do as `take_flashes`, in blocking code."""
        return self._sessions.blocking(self.take_flashes)

    # For the middleware

    def fix(self, why: str) -> None:
        """Let no id be issued from now on. why: what has happened, for the error."""
        self._fixed = why

    # Within

    def _check_away(self) -> None:
        if self._away is not None:
            raise self._away

    def _check_writable(self) -> None:
        self._check_away()
        if self._moved:
            raise SessionEnded

    def _change(self) -> SessionChange | None:
        """Return the change that is to be saved, None for none."""
        writes = self._changed_fields()
        if not writes and self._login is None and not (self._rotates and self._record is not None):
            return None
        return SessionChange(
            rule=self._sessions.rule,
            writes=writes,
            create=self._record is None,
            user=None if self._login is None else self._sessions.stored_user(self._login),
            clear=self._clears,
        )

    async def _end(self, digest: str) -> None:
        await self._call("end", lambda form: form.end(digest))
        SESSION_OPERATIONS.of("end", "ok").add()
        self._to_end, self.issued = None, ""

    async def _call(self, operation: str, call: Callable[[SessionStore], Awaitable[T]]) -> T:
        """Return what a call that changes the store returns; keep its error."""
        try:
            found = await self._sessions.use(operation, call)
        except StoreError as error:
            self._failure = error
            if isinstance(error, ToolkitAway):
                self._away = error
            raise
        self._failure = None
        return found

    async def _store(self, change: SessionChange) -> None:
        needs_id = change.create or self._rotates
        if needs_id:
            self._check_fixed("begun" if change.create else "rotated")
        name, digest, issued = self._sessions.name, self._digest, ""

        async def step(form: SessionStore) -> SessionSaved:
            nonlocal digest, issued
            if not needs_id:
                return await form.save(digest, change)
            old = self._digest
            issued = new_id(name, lambda made: not old or form.part_of(made) == form.part_of(old))
            digest = digest_of_id(name, issued)
            if change.create:
                return await form.save(digest, change)
            return await form.save(old, _with_id(change, digest))

        names = [name_of(write.name) for write in change.writes if write.checked]
        given = self._given
        self._forget_seen(change.writes)
        self._drop_changes()  # before the call: what is changed meanwhile is of the next save
        try:
            saved = await self._call("save", step)
        except BaseException:  # cancelled too
            self._keep_unsaved(change.writes)
            raise
        SESSION_OPERATIONS.of("save", "ok" if saved.state == "saved" else saved.state).add()
        if saved.state == "saved" and saved.record is not None:
            self._record, self._digest = saved.record, digest
            if issued:
                self.issued = issued
            self._keep_saved(change.writes, given)
            return
        self._keep_unsaved(change.writes)
        if saved.state == "conflict":
            self._record = saved.record
            raise SessionConflict(names)
        if saved.state == "ended":
            self._record, self._digest, self._moved = None, "", True
            self._read.clear()
            raise SessionEnded
        raise SessionFull(change.rule.max_fields, change.rule.max_bytes)

    def _check_fixed(self, what: str) -> None:
        if self._fixed:
            self._drop_changes()
            raise ConfigurationError(f"a session cannot be {what} here: {self._fixed}, so that no cookie can be sent")


def _with_id(change: SessionChange, digest: str) -> SessionChange:
    return structs.replace(change, new_id=digest)
