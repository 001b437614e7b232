"""The places of locks on Redis: one script call for each step, by the server's clock."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Final
from zlib import crc32

from outlast.aio.notifier import Notifier
from outlast.clients.redis.scripts import load_script
from outlast.toolkit.lock.store import PROCESS, TICKET, Ask, Holding, Turn
from outlast.toolkit.server import ToolkitServer

__all__ = ["TAGS", "ServerLocks"]

TAGS: Final = 16
"""Parts of a Cluster over which keys are spread, each with a counter. Never changed: a part must keep its keys."""
_CHANGES: Final = 64
"""Names of changes for each process: one that is told of a key looks at a small part of its other keys only."""


class ServerLocks:
    """The places, for all processes of a namespace."""

    def __init__(self, server: ToolkitServer) -> None:
        self._server = server

    def listen(self, key: str, holder: str) -> Notifier:
        """Return what is notified when a turn of the key may be free for a holder of this process."""
        return self._server.listen(f"lock:{holder[:PROCESS]}{_part(key)}")

    async def ask(self, ask: Ask) -> Turn:
        """Take a turn, keep it, or stand in line."""
        tag = self._tag(ask.key)
        keys = [
            self._server.key("lock", tag, "fence"),
            *(self._server.key("lock", tag, each, ask.key) for each in "hwx"),
        ]
        args = (ask.holder, ask.lease, ask.slots, int(ask.join), ask.seen, TICKET)
        token, ticket, soon = await self._server.run(load_script(__package__, "time", "ask"), keys, args, again=True)
        return Turn(int(token), int(ticket), float(soon))

    async def renew(self, held: Sequence[Holding]) -> set[str]:
        """Keep turns; return the holders that have none any more."""
        by_tag: defaultdict[str, list[Holding]] = defaultdict(list)
        for each in held:
            by_tag[self._tag(each.key)].append(each)
        script, lost = load_script(__package__, "time", "renew"), set[str]()
        for tag, some in by_tag.items():
            keys = [self._server.key("lock", tag, "h", each.key) for each in some]
            args = [arg for each in some for arg in (each.holder, each.lease)]
            lost |= {holder.decode() for holder in await self._server.run(script, keys, args, again=True)}
        return lost

    async def leave(self, held: Holding) -> None:
        """Give up the turn or the place in line, and notify those who wait."""
        tag = self._tag(held.key)
        keys = [self._server.key("lock", tag, each, held.key) for each in "hwx"]
        args = (held.holder, PROCESS, _part(held.key))
        await self._server.run(load_script(__package__, "time", "leave"), keys, args, again=True)

    def _tag(self, key: str) -> str:
        return str(crc32(key.encode()) % TAGS) if self._server.client.split else "0"


def _part(key: str) -> str:
    return f":{crc32(key.encode()) // TAGS % _CHANGES}"
