"""The shared state of guards on the Redis store: a change is stored if it follows on the stored revision."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Final

import msgspec

from outlast.brokers.redis.keyspace import KeyspaceOperations, script
from outlast.clients.redis.client import Argument
from outlast.core.guards.record import UNREADABLE_GUARD, GuardRecord, GuardsView, legible, rebased
from outlast.core.unreadable import READ_ERRORS

__all__ = ["GuardOperations"]

_GUARDS: Final = script("clock", "guards")
_log = logging.getLogger("outlast.redis")
_decode: Final = msgspec.json.Decoder(GuardRecord).decode
_encode: Final = msgspec.json.Encoder().encode


class GuardOperations(KeyspaceOperations):
    """Reads and changes the guards of one keyspace. Times are those of the server."""

    async def guard_changes(self) -> int:
        """Return the number of changes of guards."""
        count = await self.keyspace.command("GET", f"{self.keyspace.root}:swaps") or b"0"
        return int(count) if count.isdigit() else 0  # the script replaces what is no number

    async def guards(self) -> GuardsView:
        """Return all guards by name."""
        now, values = await self._values()
        found = (_read(name, values[name]) for name in sorted(values))
        return GuardsView(now, "", tuple(rebased(record, "", now) for record in found if record is not None))

    async def swap(self, records: Sequence[GuardRecord]) -> list[bool]:
        """Store the records that follow on the stored revision.

        The script compares whole values, so that one that cannot be read can be replaced too.
        """
        answers = [False] * len(records)
        if not records:
            return answers
        _, values = await self._values()
        args: list[Argument] = []
        sent: list[int] = []
        for index, record in enumerate(records):
            name = record.name.encode()
            value = values.get(name, b"")
            stored = _read(name, value) if value else None
            if record.revision == (0 if stored is None else stored.revision) + 1:
                values[name] = _encode(record)
                args += [name, value, values[name]]
                sent.append(index)
        if sent:
            reply = await self.keyspace.run(_GUARDS, [self.keyspace.root], "put", *args)
            for index, made in zip(sent, reply, strict=True):
                answers[index] = bool(made)
        return answers

    async def _values(self) -> tuple[float, dict[bytes, bytes]]:
        """Return the server's time and all values by name."""
        now, *fields = await self.keyspace.run(_GUARDS, [self.keyspace.root], "get", again=True)
        return float(now), dict(zip(fields[::2], fields[1::2], strict=True))


def _read(name: bytes, value: bytes) -> GuardRecord | None:
    """Return a record, None for one that cannot be read."""
    shown = name.decode(errors="backslashreplace")
    try:
        return legible(_decode(value), shown)
    except READ_ERRORS as error:
        _log.error(UNREADABLE_GUARD, shown, error)
        return None
