"""A channel in confirm mode: what was sent on it, and what the server says of each message."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final, Literal

from msgspec import Struct

from outlast.clients.amqp import methods
from outlast.clients.amqp.channel import AmqpChannel, AmqpContent, ChannelEvents
from outlast.clients.amqp.frames import message_frames, publish_method
from outlast.clients.amqp.properties import MessageProperties, decode_properties, encode_properties
from outlast.clients.amqp.table import TableError
from outlast.clients.amqp.window import SendWindow
from outlast.clients.amqp.wire import AmqpWire
from outlast.core.errors import ConfigurationError, StoreError, StoreUnavailable

__all__ = ["AmqpMessage", "ConfirmChannel", "PublishBatch", "PublishOutcome", "Publishing", "why_unsendable"]

PublishOutcome = Literal["confirmed", "returned", "nacked", "unknown", "unsent"]


class AmqpMessage(Struct, frozen=True):
    """A message to publish. exchange: "" is the default one, whose routing key is the name of a queue."""

    exchange: str
    key: str
    body: bytes
    properties: MessageProperties = MessageProperties()


class Publishing(Struct, frozen=True):
    """What became of one message.

    confirmed: the server has it in every queue that it was routed to. returned: no queue is bound for it; nothing keeps
    it. nacked: a queue refused it (it is full, or failed); other queues may have it. unknown: sent, and no answer came:
    it may have been accepted, or may be yet. unsent: it was not sent, so nothing has it. why: for all but confirmed.
    code: of a server's refusal, else 0. never: it can never be sent to this server as it is.
    """

    outcome: PublishOutcome
    why: str = ""
    code: int = 0
    never: bool = False


CONFIRMED: Final = Publishing("confirmed")
NACKED: Final = Publishing("nacked", "a queue refused it: it is full, or it failed")


class PublishBatch:
    """The messages of one call, and the answers to them. sent: how many were sent or answered, from the first on.

    Raise ConfigurationError for a name over 255 bytes, TableError for properties that AMQP cannot say.
    """

    __slots__ = ("answers", "done", "headers", "messages", "missing", "sent", "sizes", "waits_for")

    def __init__(self, messages: Sequence[AmqpMessage]) -> None:
        self.messages = messages
        self.headers = [encode_properties(message.properties) for message in messages]
        self.sizes = [len(message.body) + len(header) for message, header in zip(messages, self.headers, strict=True)]
        for message in messages:
            publish_method(0, message.exchange, message.key)
        self.answers: list[Publishing | None] = [None] * len(messages)
        self.missing = len(messages)
        self.sent = 0
        self.waits_for = "no connection"
        self.done: asyncio.Future[None] | None = None

    def answer(self, place: int, answer: Publishing) -> None:
        """Note what became of a message, unless that is known already."""
        if self.answers[place] is not None:
            return
        self.answers[place] = answer
        self.missing -= 1
        if not self.missing and self.done is not None and not self.done.done():
            self.done.set_result(None)

    async def wait(self) -> None:
        """Wait until every message has its answer."""
        if self.missing:
            self.done = asyncio.get_running_loop().create_future()
            await self.done


class _Sent(Struct):
    """A message that is sent and not confirmed."""

    batch: PublishBatch
    place: int
    at: float
    returned: Publishing | None = None


class ConfirmChannel(ChannelEvents):
    """For one exchange: the server closes a channel whose exchange is missing, and no other one."""

    def __init__(self, exchange: str, window: SendWindow) -> None:
        self._exchange = exchange
        self._window = window
        self._channel: AmqpChannel | None = None
        self._sent: dict[int, _Sent] = {}
        self._next = 1
        self._oldest = 1  # all before it are confirmed
        self._unreturned = 1  # returns come in the order of their messages: none before it is returned yet

    @property
    def alive(self) -> bool:
        """Whether it is open."""
        return self._channel is not None and self._channel.alive

    async def open(self, wire: AmqpWire) -> None:
        """Open it, and look that the exchange exists; raise AmqpRefused, StoreUnavailable."""
        channel = await wire.open_channel(self)
        try:
            if self._exchange:
                await channel.call(methods.find_exchange(self._exchange))
            await channel.call(methods.select_confirms())
        except BaseException:
            channel.abandon(StoreUnavailable(f"{wire.shown}: the channel was given up"))
            raise
        self._channel = channel
        channel.ended.add_done_callback(lambda ended: self._end(ended.result()))

    def send(self, batch: PublishBatch, place: int) -> None:
        """Send a message, which has its room of the window; raise StoreUnavailable when the channel has ended."""
        channel = self._channel
        if channel is None or not channel.alive:
            raise StoreUnavailable("the channel has ended")
        message, number = batch.messages[place], channel.number
        method = publish_method(number, message.exchange, message.key)
        channel.write(message_frames(number, method, batch.headers[place], message.body, channel.wire.frame_max))
        self._sent[self._next] = _Sent(batch, place, channel.wire.loop.time())
        self._next += 1

    def give_up(self, before: float) -> None:
        """Answer `unknown` to what was sent before that time of the loop: it must not keep its room for ever."""
        late: list[int] = []
        for tag, sent in self._sent.items():
            if sent.at >= before:
                break
            late.append(tag)
        for tag in late:
            self._confirm(tag, Publishing("unknown", "no confirm for a long time"))

    def confirmed(self, tag: int, *, multiple: bool, accepted: bool) -> None:
        """The server has the messages, or a queue refused them."""
        answer = CONFIRMED if accepted else NACKED
        if not multiple:
            self._confirm(tag, answer)
            return
        first, self._oldest = self._oldest, (tag or self._next - 1) + 1
        for each in range(first, self._oldest):
            self._confirm(each, answer)

    def returned(self, code: int, text: str, content: AmqpContent) -> None:
        """A message reached no queue; its confirm follows."""
        wanted = _id_of(content.header)
        for tag in range(max(self._unreturned, self._oldest), self._next):
            sent = self._sent.get(tag)
            if sent is None:
                continue
            message = sent.batch.messages[sent.place]
            if message.key == content.key and message.properties.message_id == wanted and message.body == content.body:
                sent.returned = Publishing("returned", f"{code} {text}", code)
                self._unreturned = tag + 1
                return

    def _confirm(self, tag: int, answer: Publishing) -> None:
        sent = self._sent.pop(tag, None)
        if sent is not None:
            self._window.leave(1, sent.batch.sizes[sent.place])
            sent.batch.answer(sent.place, sent.returned or answer)

    def _end(self, reason: StoreError) -> None:
        lost, self._sent = self._sent, {}
        answer = Publishing("unknown", str(reason), getattr(reason, "code", 0))
        self._window.leave(len(lost), sum(sent.batch.sizes[sent.place] for sent in lost.values()))
        for sent in lost.values():
            sent.batch.answer(sent.place, answer)


def why_unsendable(message: AmqpMessage) -> str:
    """Return why AMQP cannot say the names or the properties of a message, "" if it can."""
    try:
        PublishBatch((message,))
    except (TableError, ConfigurationError) as error:
        return str(error)
    return ""


def _id_of(header: bytes) -> str | None:
    try:
        return decode_properties(header).message_id
    except TableError:
        return None
