"""One connection to one server: hands each frame to its channel, and joins what is written in one turn of the loop."""

from __future__ import annotations

import asyncio
import ssl
import struct
from collections.abc import Callable
from typing import Any, Final, cast

from outlast.aio.callbacks import tell
from outlast.aio.deadlines import Deadlines
from outlast.aio.sockets import detect_dead_peer
from outlast.clients.amqp import methods
from outlast.clients.amqp.address import AmqpAddress, AmqpHost
from outlast.clients.amqp.channel import GOODBYE, AmqpChannel, ChannelEvents
from outlast.clients.amqp.errors import AmqpRefused
from outlast.clients.amqp.frames import FRAME_END
from outlast.clients.amqp.handshake import PikaHandshake
from outlast.clients.amqp.pika_types import AmqpMethod
from outlast.core.errors import StoreError, StoreUnavailable, StoreUncertain

__all__ = ["AmqpWire"]

DEAD_PEER: Final = 10.0
"""Seconds after which the operating system gives up a peer that confirms no bytes (TCP_USER_TIMEOUT)."""
PROBE: Final = 2.0
"""Seconds in which a server that is suspected to be gone has to send a byte."""
STUCK: Final = 100
"""Channels whose end the server has not answered, at which the connection is given up."""
_FRAME = struct.Struct(">BHI")
_METHOD_FRAME, _HEADER_FRAME, _BODY_FRAME, _HEARTBEAT_FRAME = 1, 2, 3, 8


class AmqpWire(asyncio.Protocol):
    """A connection of one event loop; made by `connect`.

    ended: completes with the reason when the connection has ended. last_received: the loop's time of the last bytes.
    blocked: the server's reason while it takes no messages (an alarm), else None.
    """

    def __init__(self, address: AmqpAddress, host: AmqpHost, purpose: str) -> None:
        self.address = address
        self.shown = f"{address.scheme}://{host}/{'' if address.vhost == '/' else address.vhost}"
        self.loop = asyncio.get_running_loop()
        self.deadlines = Deadlines()
        self.ended: asyncio.Future[StoreError] = self.loop.create_future()
        self.blocked: str | None = None
        self.on_blocked: Callable[[str | None], None] | None = None
        self.last_received = self.loop.time()
        self.frame_max = 0
        self._opened: asyncio.Future[None] = self.loop.create_future()
        self._channels: dict[int, AmqpChannel] = {}
        self._last_channel = 0
        self._transport: asyncio.Transport | None = None
        self._suspected = False
        self._rest = b""
        self._out: list[bytes] = []
        self._handshake = PikaHandshake(
            address,
            host,
            purpose,
            write=self.write,
            disconnect=self._disconnect,
            on_open=self._open,
            on_end=self._end,
            on_blocked=self._block,
        )

    @classmethod
    async def connect(
        cls, address: AmqpAddress, host: AmqpHost, purpose: str, tls: ssl.SSLContext | None = None
    ) -> AmqpWire:
        """Connect within `connect_timeout`; raise StoreUnavailable, or AmqpRefused for a login or a virtual host."""
        wire = cls(address, host, purpose)
        try:
            async with asyncio.timeout(address.connect_timeout):
                await wire.loop.create_connection(lambda: wire, host.host, host.port, ssl=tls)
                await asyncio.shield(wire._opened)
        except AmqpRefused:
            raise
        except Exception as error:  # a host's name may be no name, and then it is a UnicodeError
            wire.abort(str(error))
            late = f"no connection within {address.connect_timeout:g} s (?connect_timeout=)"
            said = str(error).removeprefix(f"{wire.shown}: ") or type(error).__name__
            why = late if isinstance(error, TimeoutError) else said
            raise StoreUnavailable(f"{wire.shown} cannot be reached: {why}") from error
        except BaseException:
            wire.abort("the attempt was given up")
            raise
        return wire

    @property
    def alive(self) -> bool:
        """Whether it is open."""
        return self._opened.done() and not self.ended.done()

    @property
    def channels(self) -> int:
        """The number of channels that are open, or not yet closed by the server."""
        return len(self._channels)

    @property
    def unsent(self) -> int:
        """Bytes that were written and are not with the operating system yet."""
        return 0 if self._transport is None else self._transport.get_write_buffer_size() + sum(map(len, self._out))

    async def open_channel(
        self, events: ChannelEvents, on_overdue: Callable[[StoreUncertain], None] | None = None
    ) -> AmqpChannel:
        """Open a channel, whose messages go to `events`; raise StoreUnavailable. on_overdue: see AmqpChannel."""
        channel = self._new_channel(events, on_overdue)
        try:
            await channel.call(methods.open_channel())
        except BaseException:
            channel.abandon(StoreUnavailable(f"{self.shown}: the channel was given up"))
            raise
        return channel

    def suspect(self, why: str) -> None:
        """End the connection unless the server sends a byte within two seconds; it is asked to open a channel."""
        if self._suspected or not self.alive or self.blocked is not None:
            return  # a blocked connection is not read by the server, so nothing would answer
        self._suspected = True
        before = self.last_received
        probe = self._new_channel(ChannelEvents())
        self.send_method(probe.number, methods.open_channel())

        def judge() -> None:
            self._suspected = False
            if self.last_received == before:
                self.abort(why)
            probe.abandon(StoreUnavailable(why))

        self.loop.call_later(PROBE, judge)

    def write(self, data: bytes) -> None:
        """Send bytes, in one piece with all others of this turn of the loop."""
        if not self._out:
            self.loop.call_soon(self._flush)
        self._out.append(data)

    def send_method(self, channel: int, method: AmqpMethod) -> None:
        """Send a method."""
        self._handshake.send_method(channel, method)

    def forget(self, channel: AmqpChannel) -> None:
        """Free the number of a channel that both ends have closed."""
        self._channels.pop(channel.number, None)

    def abort(self, why: str) -> None:
        """End the connection at once."""
        if self.ended.done():
            return
        error = StoreUnavailable(f"{self.shown}: {why}")
        if self._transport is None or self._transport.is_closing():
            self._end(error)
        else:
            self._handshake.fail(error)

    async def close(self) -> None:
        """End the connection after all that was written; at once if the server does not answer within a second."""
        if self.alive:
            self._handshake.close_politely()
            await asyncio.wait([self.ended], timeout=GOODBYE)
        self.abort("the connection was closed")

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the loop."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's transport is no subclass
        found = transport.get_extra_info("socket")
        if found is not None:
            detect_dead_peer(found, DEAD_PEER)
        if self.ended.done():
            self._transport.abort()
        else:
            self._handshake.stream_connected()

    def data_received(self, data: bytes) -> None:
        """Called by the loop."""
        self.last_received = self.loop.time()
        self._handshake.count_received(len(data))
        if self._rest:
            data = self._rest + data
            self._rest = b""
        try:
            used = self._take_frames(data)
        except StoreError as error:
            self._handshake.fail(error)
        except Exception as error:  # whatever the bytes are, they end no more than this connection
            self._handshake.fail(StoreUnavailable(f"{self.shown}: bytes that are not AMQP 0-9-1: {error!r}"))
        else:
            if used < len(data):
                self._rest = data[used:]

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by the loop."""
        self._handshake.stream_lost(exc)
        self._end(exc or StoreUnavailable(f"{self.shown}: the server closed the connection"))

    def _take_frames(self, data: bytes) -> int:
        """Hand each whole frame to its channel; return the number of bytes used."""
        at, end = 0, len(data)
        channels = self._channels
        while end - at >= 8:
            kind, number, size = _FRAME.unpack_from(data, at)
            if size > self._largest_payload() or kind not in (1, 2, 3, 8):
                raise StoreUnavailable(f"{self.shown}: a frame of type {kind} with {size} bytes")
            start, after = at + 7, at + 8 + size
            if after > end:
                break
            if data[after - 1] != FRAME_END:
                raise StoreUnavailable(f"{self.shown}: a frame without its end")
            if number == 0:
                self._handshake.take_frame(data[at:after])
                if self.ended.done():
                    return end
            elif (channel := channels.get(number)) is not None:
                if kind == _METHOD_FRAME:
                    channel.take_method(data, at, start, after)
                elif kind == _HEADER_FRAME:
                    channel.take_header(data, start, after - 1)
                elif kind == _BODY_FRAME:
                    channel.take_body(data[start : after - 1])
            at = after
        return at

    def _new_channel(
        self, events: ChannelEvents, on_overdue: Callable[[StoreUncertain], None] | None = None
    ) -> AmqpChannel:
        if not self.alive:
            raise StoreUnavailable(f"{self.shown}: the connection is closed")
        stuck = sum(not channel.alive for channel in self._channels.values())
        if stuck >= STUCK:
            self.abort(f"the end of {stuck} channels was not answered")
            raise StoreUnavailable(f"{self.shown}: the connection is closed")
        channel = AmqpChannel(self, self._free_number(), events, on_overdue)
        self._channels[channel.number] = channel
        return channel

    def _largest_payload(self) -> int:
        return self.frame_max or 131072

    def _free_number(self) -> int:
        """Return a number that was not used lately: late frames of a channel that has ended reach no other one."""
        limit = self._handshake.channel_max or 65535
        if len(self._channels) >= limit:
            raise StoreUnavailable(f"{self.shown}: all {limit} channels of the connection are open")
        while True:
            self._last_channel = self._last_channel % limit + 1
            if self._last_channel not in self._channels:
                return self._last_channel

    def _flush(self) -> None:
        out, self._out = self._out, []
        if out and self._transport is not None and not self._transport.is_closing():
            self._transport.write(out[0] if len(out) == 1 else b"".join(out))

    def _disconnect(self) -> None:
        self._flush()
        if self._transport is not None:
            self._transport.abort()

    def _open(self) -> None:
        self.frame_max = self._handshake.frame_max
        if not self._opened.done():
            self._opened.set_result(None)

    def _block(self, reason: str | None) -> None:
        self.blocked = reason
        tell(self.on_blocked, reason)

    def _end(self, error: Exception) -> None:
        """Complete everything that waits for this connection, once."""
        if self.ended.done():
            return
        reason = self._meaning(error)
        self.ended.set_result(reason)
        self._out.clear()
        self._rest = b""
        if not self._opened.done():
            self._opened.set_exception(reason)
            self._opened.exception()  # else asyncio logs it when the attempt was given up
        channels, self._channels = list(self._channels.values()), {}
        for channel in channels:
            channel.end(reason)
        if self.blocked is not None:
            self._block(None)

    def _meaning(self, error: Exception) -> StoreError:
        if isinstance(error, StoreError):
            return error
        text = str(error) or type(error).__name__
        reply: Any = getattr(error, "reply_text", None)  # a connection that either end closed with words
        if reply is not None and getattr(error, "reply_code", 200) != 200:
            return AmqpRefused(self.shown, int(getattr(error, "reply_code", 0)), str(reply))
        return StoreUnavailable(f"{self.shown}: {text}")
