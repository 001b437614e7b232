"""The toolkit's data on a Redis or Valkey server, behind Sentinels, or on a Cluster."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeVar

from outlast.aio.notifier import Notifier
from outlast.clients.redis.address import Address
from outlast.clients.redis.client import Argument, RedisClient
from outlast.clients.redis.scripts import Script
from outlast.toolkit.store import ToolkitStore

if TYPE_CHECKING:
    from outlast.toolkit.file import ToolkitFile
    from outlast.toolkit.memory import ToolkitMemory

__all__ = ["ToolkitServer"]

T = TypeVar("T")


class ToolkitServer(ToolkitStore):
    """The keys `NAMESPACE:kit:...` of the servers at `address`, for one event loop.

    now: for tests, the wall time (seconds since 1970) that scripts use in place of the server's.
    """

    def __init__(self, address: Address, *, now: Callable[[], float] | None = None) -> None:
        self.client: Final = RedisClient(address)
        self.shown = address.shown
        self._prefix = f"{address.namespace}:kit:"
        self._channel = f"{self._prefix}changes"
        self._now = now
        self._notifiers: dict[str, Notifier] = {}

    async def open(self) -> None:
        """Connect; raise StoreError. Opening twice is a no-op."""
        await self.client.open()

    async def close(self) -> None:
        """Disconnect."""
        await self.client.close()
        for notifier in self._notifiers.values():
            notifier.notify()

    def key(self, piece: str, tag: str, *rest: str) -> str:
        """Return a key of a piece. tag: `key_text`; keys of one tag lie in one slot of a Cluster."""
        return ":".join((f"{self._prefix}{piece}:{{{tag}}}", *rest))

    async def run(self, script: Script, keys: Sequence[str], args: Sequence[Argument], *, again: bool = False) -> Any:
        """Call a script; ARGV[1] is the time, "" for the server's, ARGV[2] the channel of changes, then `args`.

        again: the call is idempotent. Raise StoreError.
        """
        now: Argument = "" if self._now is None else repr(self._now())
        return await self.client.run(script, keys, (now, self._channel, *args), again=again)

    def choose(
        self,
        memory: Callable[[ToolkitMemory], T],
        file: Callable[[ToolkitFile], T],
        server: Callable[[ToolkitServer], T],
    ) -> T:
        """Return what the function for this kind of store returns."""
        return server(self)

    def listen(self, change: str) -> Notifier:
        """Return the notifier of a change; other processes notify it by publishing its name on the channel."""
        if change not in self._notifiers:
            self._notifiers[change] = Notifier()
            self.client.listen([self._channel], self._changed)
        return self._notifiers[change]

    def _changed(self, message: bytes) -> None:
        """Notify of a change; of all when messages may have been missed."""
        for change, notifier in self._notifiers.items():
            if not message or message == change.encode():
                notifier.notify()
