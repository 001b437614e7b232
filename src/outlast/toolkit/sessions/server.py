"""The sessions on a Redis or Valkey server: a hash each, and a sorted set of the sessions of each user."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final

from outlast.clients.redis.client import Argument
from outlast.clients.redis.scripts import Script, load_script
from outlast.core.errors import StoreError
from outlast.toolkit.server import ToolkitServer
from outlast.toolkit.sessions.rule import TOUCH, SessionRule
from outlast.toolkit.sessions.store import GRACE, SessionChange, SessionRecord, SessionSaved

__all__ = ["ServerSessions"]

_PARTS: Final = tuple("0123456789abcdef")
"""Of a Cluster: the first digit of a digest. A session and the sets of its user are in one slot, so that each step is
one script."""
_ONE: Final = ("s",)


class ServerSessions:
    """The sessions of a `ToolkitServer`.

    On a Cluster they are in 16 parts, each with its own set of a user's sessions: all of them are asked for a user.
    """

    def __init__(self, store: ToolkitServer) -> None:
        self._store = store
        self._parts = _PARTS if store.client.split else _ONE

    def part_of(self, id: str) -> str:  # noqa: A002
        """See `SessionStore`."""
        return id[0] if len(self._parts) > 1 else self._parts[0]

    async def load(self, id: str, rule: SessionRule) -> SessionRecord | None:  # noqa: A002
        """See `SessionStore`."""
        found = await self._run(_script("load"), self.part_of(id), (id, rule.idle, rule.idle * TOUCH), again=True)
        return None if found is None else _record(found)

    async def save(self, id: str, change: SessionChange) -> SessionSaved:  # noqa: A002
        """See `SessionStore`. On a Cluster the user's other parts are bounded in steps that follow."""
        rule = change.rule
        args: list[Argument] = [id, change.new_id, change.user or "", rule.idle, rule.absolute]
        args += ["1" if change.create else "", "1" if change.clear else ""]
        args += [rule.max_fields, rule.max_bytes, rule.per_user, GRACE]
        for write in change.writes:
            check = b"" if not write.checked else b"-" if write.expected is None else b"=" + write.expected
            args += [write.name, check, b"-" if write.value is None else b"=" + write.value]
        state, *found = await self._run(_script("save"), self.part_of(id), args)
        saved = SessionSaved(state.decode(), _record(found) if found else None)
        if saved.state == "saved" and change.user is not None and len(self._parts) > 1:
            with suppress(StoreError):  # the login is stored: the next one does it
                await self._bound(change.user, change.new_id or id, rule.per_user)
        return saved

    async def _bound(self, user: str, keep: str, most: int) -> None:
        """End the sessions of a user beyond `most` that were logged in first, in all parts."""
        others = [id_ for id_, _ in await self.of_user(user) if id_ != keep]
        for id_ in others[: max(0, len(others) + 1 - most)]:
            await self.end(id_)

    async def take(self, id: str, prefix: str) -> dict[str, bytes]:  # noqa: A002
        """See `SessionStore`."""
        found = await self._run(_script("take"), self.part_of(id), (id, prefix))
        return {name.decode(): value for name, value in _pairs(found)}

    async def end(self, id: str) -> bool:  # noqa: A002
        """See `SessionStore`."""
        return bool(await self._run(_script("end"), self.part_of(id), (id,)))

    async def of_user(self, user: str) -> list[tuple[str, SessionRecord]]:
        """See `SessionStore`."""
        found = await self._in_all_parts((user, ""))
        told = [(id_.decode(), _record(record)) for each in found for id_, record in _pairs(each)]
        return sorted(told, key=lambda each: each[1].since)

    async def end_user(self, user: str, keep: str) -> int:
        """See `SessionStore`."""
        return sum(await self._in_all_parts((user, "1", keep)))

    async def _in_all_parts(self, args: Sequence[Argument]) -> list[Any]:
        return await asyncio.gather(*(self._run(_script("user"), part, args) for part in self._parts))

    async def _run(self, script: Script, part: str, args: Sequence[Argument], *, again: bool = False) -> Any:
        return await self._store.run(script, [self._store.key("session", part)], args, again=again)


def _script(name: str) -> Script:
    return load_script(__package__, "common", name)


def _pairs(flat: Sequence[Any]) -> list[tuple[Any, Any]]:
    return [*zip(flat[::2], flat[1::2], strict=True)]


def _record(flat: Sequence[bytes]) -> SessionRecord:
    found = {name.decode(): value for name, value in _pairs(flat)}
    user = found.get("u")
    since, seen, ends, until = (float(found.get(name, b"0")) for name in ("c", "s", "e", "t"))
    fields = {name: value for name, value in found.items() if name[0] in ".~"}
    return SessionRecord(None if user is None else user.decode(), since, seen, ends, until, fields, "x" in found)
