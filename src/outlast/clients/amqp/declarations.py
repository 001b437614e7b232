"""Declares, binds and deletes queues and exchanges on one channel."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import cast

from msgspec import Struct

from outlast.clients.amqp import methods
from outlast.clients.amqp.pika_types import AmqpMethod, CountReply, DeclareReply
from outlast.clients.amqp.table import FieldValue

__all__ = ["AmqpDeclarations", "DeclaredQueue"]

Arguments = Mapping[str, FieldValue]


class DeclaredQueue(Struct, frozen=True):
    """A queue, with what the server tells of it: messages that are ready (not those delivered), and consumers."""

    name: str
    messages: int
    consumers: int


class AmqpDeclarations:
    """Requests, sent by `call`.

    All raise AmqpRefused, with the code and the text of the server, which closes the channel then; StoreUncertain and
    StoreUnavailable as `AmqpChannel.call`; ConfigurationError for a name over 255 bytes; TableError for arguments.
    """

    def __init__(self, call: Callable[[AmqpMethod], Awaitable[AmqpMethod]]) -> None:
        self._call = call

    async def declare_queue(
        self,
        name: str,
        *,
        durable: bool = True,
        exclusive: bool = False,
        auto_delete: bool = False,
        arguments: Arguments | None = None,
    ) -> DeclaredQueue:
        """Make a queue, or find it; 406 when it exists with other options or arguments. "": the server names it."""
        method = methods.declare_queue(
            name, durable=durable, exclusive=exclusive, auto_delete=auto_delete, arguments=arguments or {}
        )
        return _declared(await self._call(method))

    async def find_queue(self, name: str) -> DeclaredQueue:
        """Return a queue that exists; 404 when it does not."""
        return _declared(await self._call(methods.find_queue(name)))

    async def delete_queue(self, name: str) -> int:
        """Delete a queue if it exists; return the number of messages that were lost with it."""
        return cast("CountReply", await self._call(methods.delete_queue(name))).message_count

    async def purge_queue(self, name: str) -> int:
        """Drop the messages that are ready; return their number."""
        return cast("CountReply", await self._call(methods.purge_queue(name))).message_count

    async def bind_queue(self, queue: str, exchange: str, key: str = "", arguments: Arguments | None = None) -> None:
        """Bind a queue to an exchange; a binding that exists is left as it is."""
        await self._call(methods.bind_queue(queue, exchange, key, arguments or {}))

    async def unbind_queue(self, queue: str, exchange: str, key: str = "", arguments: Arguments | None = None) -> None:
        """Remove a binding, if it exists."""
        await self._call(methods.unbind_queue(queue, exchange, key, arguments or {}))

    async def declare_exchange(
        self,
        name: str,
        kind: str,
        *,
        durable: bool = True,
        auto_delete: bool = False,
        internal: bool = False,
        arguments: Arguments | None = None,
    ) -> None:
        """Make an exchange, or find it; 406 when it exists with another type or other options."""
        method = methods.declare_exchange(
            name, kind, durable=durable, auto_delete=auto_delete, internal=internal, arguments=arguments or {}
        )
        await self._call(method)

    async def find_exchange(self, name: str) -> None:
        """Look that an exchange exists, of whatever type; 404 when it does not."""
        await self._call(methods.find_exchange(name))

    async def delete_exchange(self, name: str, *, if_unused: bool = False) -> None:
        """Delete an exchange if it exists, with its bindings."""
        await self._call(methods.delete_exchange(name, if_unused=if_unused))

    async def bind_exchange(
        self, destination: str, source: str, key: str = "", arguments: Arguments | None = None
    ) -> None:
        """Bind an exchange to another one, the source."""
        await self._call(methods.bind_exchange(destination, source, key, arguments or {}))

    async def unbind_exchange(
        self, destination: str, source: str, key: str = "", arguments: Arguments | None = None
    ) -> None:
        """Remove a binding between exchanges, if it exists."""
        await self._call(methods.unbind_exchange(destination, source, key, arguments or {}))


def _declared(reply: AmqpMethod) -> DeclaredQueue:
    found = cast("DeclareReply", reply)
    return DeclaredQueue(str(found.queue), found.message_count, found.consumer_count)
