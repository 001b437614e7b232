"""The idempotency keys on a Redis server: one hash each, which expires."""

from __future__ import annotations

from typing import Any

from outlast.clients.redis.scripts import load_script
from outlast.toolkit.idempotency.records import GRACE, KeyFound
from outlast.toolkit.server import ToolkitServer

__all__ = ["ServerKeys"]


class ServerKeys:
    """The records of a `ToolkitServer`."""

    def __init__(self, store: ToolkitServer) -> None:
        self._store = store
        self._script = load_script(__package__, "key")

    async def begin(self, id: str, payload: bytes, token: str, lease: float) -> KeyFound:  # noqa: A002
        """See `KeyRecords`."""
        found = await self._run(id, "begin", payload, token, lease, GRACE)
        state = found[0].decode()
        if state == "answered":
            return KeyFound(state, answer=found[1])
        return KeyFound(state, left=float(found[1]) if len(found) > 1 else 0.0)

    async def renew(self, id: str, token: str, lease: float) -> bool:  # noqa: A002
        """See `KeyRecords`."""
        return bool(await self._run(id, "renew", token, lease, GRACE))

    async def finish(self, id: str, payload: bytes, token: str, answer: bytes, ttl: float) -> bool:  # noqa: A002
        """See `KeyRecords`."""
        return bool(await self._run(id, "finish", payload, token, answer, ttl))

    async def free(self, id: str, token: str) -> None:  # noqa: A002
        """See `KeyRecords`."""
        await self._run(id, "free", token)

    async def _run(self, id_: str, *args: bytes | str | float) -> Any:
        return await self._store.run(self._script, [self._store.key("idem", id_)], args, again=True)
