"""pika's connection on a stream of our own: it opens and closes the connection, and sends and checks heartbeats.

Content frames never reach pika, whose decoder ends the connection at a timestamp out of range and turns 1.5 into 1.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from pika import ConnectionParameters, PlainCredentials
from pika.connection import Connection
from pika.frame import decode_frame

from outlast.clients.amqp.address import AmqpAddress, AmqpHost
from outlast.clients.amqp.errors import refused_connection
from outlast.clients.amqp.pika_types import AmqpMethod

__all__ = ["PikaHandshake"]


class PikaHandshake(Connection):  # type: ignore[misc]  # pika has no types
    """One connection of pika, without its transports: the owner passes bytes in both directions.

    write: sends bytes. disconnect: ends the stream; `stream_lost` is called then. on_open, on_end(error), on_blocked(
    reason or None): called once, once, and each time that the server stops or starts to take messages.
    """

    def __init__(
        self,
        address: AmqpAddress,
        host: AmqpHost,
        purpose: str,
        *,
        write: Callable[[bytes], None],
        disconnect: Callable[[], None],
        on_open: Callable[[], None],
        on_end: Callable[[Exception], None],
        on_blocked: Callable[[str | None], None],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._write = write
        self._disconnect = disconnect
        self._where = f"{address.scheme}://{host}/{'' if address.vhost == '/' else address.vhost}"
        super().__init__(
            ConnectionParameters(
                host=host.host,
                port=host.port,
                virtual_host=address.vhost,
                credentials=PlainCredentials(address.user, address.password),
                heartbeat=address.heartbeat,
                client_properties={"product": "Outlast", "connection_name": f"{address.name}:{purpose}"},
            ),
            on_open_callback=lambda _: on_open(),
            on_open_error_callback=lambda _, error: on_end(error),
            on_close_callback=lambda _, error: on_end(error),
            internal_connection_workflow=False,
        )
        self.add_on_connection_blocked_callback(lambda _, frame: on_blocked(str(frame.method.reason)))
        self.add_on_connection_unblocked_callback(lambda *_: on_blocked(None))

    @property
    def frame_max(self) -> int:
        """The largest frame that both ends take, in bytes."""
        return int(self.params.frame_max)

    @property
    def channel_max(self) -> int:
        """The highest number of a channel."""
        return int(self.params.channel_max)

    def stream_connected(self) -> None:
        """Begin: the stream is there."""
        self._on_stream_connected()

    def count_received(self, size: int) -> None:
        """Count the bytes that came: heartbeats are judged by them."""
        self.bytes_received += size

    def take_frame(self, frame: bytes) -> None:
        """Take a frame of channel 0."""
        _, value = decode_frame(frame)
        self._process_frame(value)

    def send_method(self, channel: int, method: AmqpMethod) -> None:
        """Send a method."""
        self._send_method(channel, method)

    def fail(self, error: Exception) -> None:
        """End the stream because of an error."""
        self._terminate_stream(error)

    def close_politely(self) -> None:
        """Tell the server that the connection ends; it answers, and `on_end` is called. Once only."""
        if self.is_open:
            self.close()

    def stream_lost(self, error: Exception | None) -> None:
        """Clean up: the stream has ended, by its own or by `disconnect` (error None)."""
        if error is None and self._error is None:
            error = ConnectionError("the server closed the connection")
        self._on_stream_terminated(error)

    def _on_connection_close_from_broker(self, frame: Any) -> None:
        code, text = int(frame.method.reply_code), str(frame.method.reply_text)
        self.fail(refused_connection(self._where, str(self.params.virtual_host), code, text))

    def _adapter_call_later(self, delay: float, callback: Callable[[], Any]) -> object:
        return self._loop.call_later(delay, callback)

    def _adapter_remove_timeout(self, timeout_id: asyncio.TimerHandle) -> None:
        timeout_id.cancel()

    def _adapter_add_callback_threadsafe(self, callback: Callable[..., Any]) -> None:
        self._loop.call_soon_threadsafe(callback)

    def _adapter_connect_stream(self) -> None:
        raise NotImplementedError("the stream is made by the owner")

    def _adapter_disconnect_stream(self) -> None:
        self._disconnect()

    def _adapter_emit_data(self, data: bytes) -> None:
        self._write(data)
