"""One channel of a connection: requests in their order, messages to their receiver, and its end with the reason."""

from __future__ import annotations

import asyncio
import struct
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, cast

from msgspec import Struct

from outlast.clients.amqp import methods
from outlast.clients.amqp.errors import AmqpRefused
from outlast.clients.amqp.pika_types import AmqpMethod, CloseMethod
from outlast.core.errors import StoreError, StoreUnavailable, StoreUncertain

if TYPE_CHECKING:
    from outlast.clients.amqp.wire import AmqpWire

__all__ = ["AmqpChannel", "AmqpContent", "ChannelEvents", "GOODBYE"]

GOODBYE: Final = 1.0
"""Seconds that a server has to answer the end of a channel or a connection."""
_INDEX = struct.Struct(">I")
_SIZE = struct.Struct(">Q")
_TAG = struct.Struct(">QB")
_CODE = struct.Struct(">H")
_ACK: Final = 0x003C0050
_NACK: Final = 0x003C0078
_DELIVER: Final = 0x003C003C
_RETURN: Final = 0x003C0032
_CANCEL: Final = 0x003C001E
_CLOSE: Final = 0x00140028
_CLOSE_OK: Final = 0x00140029
_FLOW: Final = 0x00140014


class AmqpContent(Struct, frozen=True):
    """A message that came. header: the encoded properties, see `decode_properties`."""

    exchange: str
    key: str
    header: bytes
    body: bytes


class ChannelEvents:
    """What may come on a channel beside the answers to requests. Called within a callback of the loop: never raise."""

    def confirmed(self, tag: int, *, multiple: bool, accepted: bool) -> None:
        """The server has message `tag`, or refused it; multiple: and all before it that it has not confirmed yet."""

    def returned(self, code: int, text: str, content: AmqpContent) -> None:
        """A message reached no queue."""

    def delivered(self, tag: int, redelivered: bool, content: AmqpContent) -> None:
        """A message was delivered."""

    def cancelled(self) -> None:
        """The server ended the consumer: its queue was deleted, or moved."""


class AmqpChannel:
    """A channel that `AmqpWire.open_channel` opened. ended: completes with the reason when it takes no more requests.

    on_overdue: called with the reason when an answer is overdue, and the call waits on, as long as the connection
    lasts: a queue that has no leader answers when it has one. None: an overdue call raises, and ends the channel.
    """

    def __init__(
        self,
        wire: AmqpWire,
        number: int,
        events: ChannelEvents,
        on_overdue: Callable[[StoreUncertain], None] | None = None,
    ) -> None:
        self.wire = wire
        self.number = number
        self.ended: asyncio.Future[StoreError] = wire.loop.create_future()
        self._events = events
        self._on_overdue = on_overdue
        self._gone: asyncio.Future[None] = wire.loop.create_future()
        self._calls: deque[asyncio.Future[AmqpMethod]] = deque()
        # The message that comes: how, exchange and routing key, properties, bytes and pieces of the body.
        self._returned: tuple[int, str] | None = None
        self._delivered: tuple[int, bool] | None = None
        self._route = ("", "")
        self._header = b""
        self._missing = 0
        self._pieces: list[bytes] = []

    @property
    def alive(self) -> bool:
        """Whether it is open."""
        return not self.ended.done()

    async def call(self, method: AmqpMethod) -> AmqpMethod:
        """Send a method and return its answer.

        Raise AmqpRefused when the server closed the channel because of it, StoreUncertain when the connection ended
        before the answer or the answer is overdue (?timeout=), StoreUnavailable when the channel had ended before.
        """
        if self.ended.done():
            raise StoreUnavailable(f"{self.wire.shown}: the channel has ended: {self.ended.result()}")
        answer: asyncio.Future[AmqpMethod] = self.wire.loop.create_future()
        self.wire.send_method(self.number, method)
        self._calls.append(answer)
        timeout = self.wire.address.timeout
        try:
            with self.wire.deadlines.within(timeout):
                return await asyncio.shield(answer)
        except TimeoutError:
            why = f"no answer to {method.NAME} within {timeout:g} s (?timeout=)"
        self.wire.suspect(why)
        overdue = StoreUncertain(f"{self.wire.shown}: {why}")
        if self._on_overdue is None:
            self.abandon(overdue)
            raise overdue
        self._on_overdue(overdue)
        return await answer

    def write(self, frames: bytes) -> None:
        """Send frames of this channel."""
        self.wire.write(frames)

    async def close(self) -> None:
        """Close it, after all that was written on it; what was delivered and not settled goes back to its queue.

        Wait for the answer of the server, at most a second.
        """
        self.abandon(StoreUnavailable(f"{self.wire.shown}: the channel was closed"))
        await asyncio.wait([self._gone], timeout=GOODBYE)

    def abandon(self, reason: StoreError) -> None:
        """Close it without waiting for the server's answer, until which its number is taken."""
        if not self.ended.done():
            if self.wire.alive:
                self.wire.send_method(self.number, methods.close_channel())
            self._complete(reason)

    def end(self, reason: StoreError) -> None:
        """Complete everything that waits for this channel: both ends have closed it, or the connection has ended."""
        self.wire.forget(self)
        self._complete(reason)
        if not self._gone.done():
            self._gone.set_result(None)

    def take_method(self, data: bytes, at: int, start: int, after: int) -> None:
        """Take the method frame data[at:after], whose payload begins at `start`."""
        (index,) = _INDEX.unpack_from(data, start)
        if index in (_ACK, _NACK):
            tag, bits = _TAG.unpack_from(data, start + 4)
            self._events.confirmed(tag, multiple=bool(bits & 1), accepted=index == _ACK)
        elif index == _DELIVER:
            where = start + 5 + data[start + 4]  # behind the consumer's name
            tag, redelivered = _TAG.unpack_from(data, where)
            exchange, where = _text(data, where + 9)
            self._route = (exchange, _text(data, where)[0])
            self._delivered = (tag, bool(redelivered))
        elif index == _RETURN:
            (code,) = _CODE.unpack_from(data, start + 4)
            text, where = _text(data, start + 6)
            exchange, where = _text(data, where)
            self._route = (exchange, _text(data, where)[0])
            self._returned = (code, text)
        else:
            self._take_rare(index, data[at:after])

    def take_header(self, data: bytes, start: int, end: int) -> None:
        """Take the content header data[start:end]."""
        self._header = data[start + 12 : end]
        (self._missing,) = _SIZE.unpack_from(data, start + 4)
        self._pieces = []
        if not self._missing:
            self._finish(b"")

    def take_body(self, piece: bytes) -> None:
        """Take a piece of a body."""
        self._missing -= len(piece)
        if self._missing > 0:
            self._pieces.append(piece)
        elif self._pieces:
            self._pieces.append(piece)
            self._finish(b"".join(self._pieces))
        else:
            self._finish(piece)

    def _finish(self, body: bytes) -> None:
        delivered, returned = self._delivered, self._returned
        self._delivered = self._returned = None
        self._pieces = []
        if self.ended.done():
            return
        content = AmqpContent(*self._route, self._header, body)
        if delivered is not None:
            self._events.delivered(*delivered, content)
        elif returned is not None:
            self._events.returned(*returned, content)

    def _take_rare(self, index: int, frame: bytes) -> None:
        if index == _CLOSE:
            closed = cast("CloseMethod", methods.method_of(frame))
            self.wire.send_method(self.number, methods.close_channel_ok())
            self.end(AmqpRefused(self.wire.shown, closed.reply_code, str(closed.reply_text)))
        elif index == _CANCEL:
            self._events.cancelled()
        elif index == _CLOSE_OK:
            self.end(StoreUnavailable(f"{self.wire.shown}: the channel was closed"))
        elif index != _FLOW and self._calls:
            answer = self._calls.popleft()
            if not answer.done():
                answer.set_result(methods.method_of(frame))

    def _complete(self, reason: StoreError) -> None:
        if self.ended.done():
            return
        self.ended.set_result(reason)
        self._delivered = self._returned = None
        self._pieces = []
        while self._calls:
            answer = self._calls.popleft()
            if not answer.done():
                answer.set_exception(reason if isinstance(reason, AmqpRefused) else StoreUncertain(str(reason)))
                answer.exception()  # else asyncio logs it if the caller was cancelled


def _text(data: bytes, at: int) -> tuple[str, int]:
    """Return a short string, and where it ends; bytes that are not UTF-8 are shown as escapes."""
    end = at + 1 + data[at]
    return data[at + 1 : end].decode("utf-8", "backslashreplace"), end
