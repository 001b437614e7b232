"""The methods of AMQP that this client sends, made and read by pika's codec; tables by our own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from pika import spec
from pika.frame import decode_frame

from outlast.clients.amqp.frames import short_text
from outlast.clients.amqp.pika_types import AmqpMethod
from outlast.clients.amqp.table import FieldValue, encode_table

__all__ = [
    "bind_exchange",
    "bind_queue",
    "cancel_consumer",
    "close_channel",
    "close_channel_ok",
    "consume",
    "declare_exchange",
    "declare_queue",
    "delete_exchange",
    "delete_queue",
    "find_exchange",
    "find_queue",
    "limit_prefetch",
    "method_of",
    "open_channel",
    "purge_queue",
    "select_confirms",
    "unbind_exchange",
    "unbind_queue",
]

Table = Mapping[str, FieldValue]


def method_of(frame: bytes) -> AmqpMethod:
    """Return the method in a whole method frame."""
    return cast("AmqpMethod", decode_frame(frame)[1].method)


def open_channel() -> AmqpMethod:
    """channel.open."""
    return cast("AmqpMethod", spec.Channel.Open())


def close_channel() -> AmqpMethod:
    """channel.close."""
    return cast("AmqpMethod", spec.Channel.Close(200, "", 0, 0))


def close_channel_ok() -> AmqpMethod:
    """channel.close-ok."""
    return cast("AmqpMethod", spec.Channel.CloseOk())


def select_confirms() -> AmqpMethod:
    """confirm.select."""
    return cast("AmqpMethod", spec.Confirm.Select())


def limit_prefetch(count: int) -> AmqpMethod:
    """basic.qos, for each consumer that starts on the channel from now on."""
    return cast("AmqpMethod", spec.Basic.Qos(0, count, False))


def consume(queue: str, tag: str, arguments: Table) -> AmqpMethod:
    """basic.consume, with acknowledgements."""
    return _with(spec.Basic.Consume(queue=_queue(queue), consumer_tag=tag, arguments={}), arguments)


def cancel_consumer(tag: str) -> AmqpMethod:
    """basic.cancel."""
    return cast("AmqpMethod", spec.Basic.Cancel(tag))


def declare_queue(name: str, *, durable: bool, exclusive: bool, auto_delete: bool, arguments: Table) -> AmqpMethod:
    """queue.declare."""
    method = spec.Queue.Declare(
        queue=_queue(name), durable=durable, exclusive=exclusive, auto_delete=auto_delete, arguments={}
    )
    return _with(method, arguments)


def delete_queue(name: str) -> AmqpMethod:
    """queue.delete. Never with if-unused or if-empty: for a quorum queue, the server closes the connection (540)."""
    return cast("AmqpMethod", spec.Queue.Delete(queue=_queue(name)))


def purge_queue(name: str) -> AmqpMethod:
    """queue.purge."""
    return cast("AmqpMethod", spec.Queue.Purge(queue=_queue(name)))


def bind_queue(queue: str, exchange: str, key: str, arguments: Table) -> AmqpMethod:
    """queue.bind."""
    return _with(
        spec.Queue.Bind(queue=_queue(queue), exchange=_exchange(exchange), routing_key=_key(key), arguments={}),
        arguments,
    )


def unbind_queue(queue: str, exchange: str, key: str, arguments: Table) -> AmqpMethod:
    """queue.unbind."""
    return _with(
        spec.Queue.Unbind(queue=_queue(queue), exchange=_exchange(exchange), routing_key=_key(key), arguments={}),
        arguments,
    )


def declare_exchange(
    name: str, kind: str, *, durable: bool, auto_delete: bool, internal: bool, arguments: Table
) -> AmqpMethod:
    """exchange.declare."""
    method = spec.Exchange.Declare(
        exchange=_exchange(name),
        type=_checked(kind, "exchange type"),
        durable=durable,
        auto_delete=auto_delete,
        internal=internal,
        arguments={},
    )
    return _with(method, arguments)


def find_exchange(name: str) -> AmqpMethod:
    """exchange.declare, passive: it is refused with 404 when there is no such exchange, of any type."""
    return cast("AmqpMethod", spec.Exchange.Declare(exchange=_exchange(name), passive=True, arguments={}))


def find_queue(name: str) -> AmqpMethod:
    """queue.declare, passive: it is refused with 404 when there is no such queue."""
    return cast("AmqpMethod", spec.Queue.Declare(queue=_queue(name), passive=True, arguments={}))


def delete_exchange(name: str, *, if_unused: bool) -> AmqpMethod:
    """exchange.delete."""
    return cast("AmqpMethod", spec.Exchange.Delete(exchange=_exchange(name), if_unused=if_unused))


def bind_exchange(destination: str, source: str, key: str, arguments: Table) -> AmqpMethod:
    """exchange.bind."""
    method = spec.Exchange.Bind(
        destination=_exchange(destination), source=_exchange(source), routing_key=_key(key), arguments={}
    )
    return _with(method, arguments)


def unbind_exchange(destination: str, source: str, key: str, arguments: Table) -> AmqpMethod:
    """exchange.unbind."""
    method = spec.Exchange.Unbind(
        destination=_exchange(destination), source=_exchange(source), routing_key=_key(key), arguments={}
    )
    return _with(method, arguments)


class _WithArguments:
    """A method whose last field is a table that our codec encodes: pika's cannot encode a float."""

    def __init__(self, method: AmqpMethod, table: bytes) -> None:
        self.NAME = method.NAME
        self.INDEX = method.INDEX
        self._method = method
        self._table = table

    def encode(self) -> list[bytes]:
        """Return the fields as bytes, with the table instead of the empty one."""
        return [*self._method.encode()[:-1], self._table]


def _with(method: AmqpMethod, arguments: Table) -> AmqpMethod:
    return _WithArguments(method, encode_table(arguments))


def _queue(name: str) -> str:
    return _checked(name, "queue")


def _exchange(name: str) -> str:
    return _checked(name, "exchange")


def _key(key: str) -> str:
    return _checked(key, "routing key")


def _checked(text: str, what: str) -> str:
    short_text(text, what)
    return text
