"""Publishes messages with confirms, each mandatory; tells of every message what became of it, within a deadline."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from outlast.aio.deadlines import Deadlines
from outlast.clients.amqp.confirm_channels import ConfirmChannels, Lane, lane_of
from outlast.clients.amqp.confirms import AmqpMessage, ConfirmChannel, PublishBatch, Publishing
from outlast.clients.amqp.frames import HEADER_OVERHEAD
from outlast.clients.amqp.link import AmqpLink
from outlast.clients.amqp.window import SendWindow
from outlast.clients.amqp.wire import AmqpWire
from outlast.core.errors import StoreError

__all__ = ["AmqpPublisher"]

COUNT: Final = 10_000
SIZE: Final = 64 * 1024 * 1024
"""Messages, and bytes, that may be sent and not confirmed."""
SILENCE: Final = 10.0
"""Seconds without a byte from the server, while it owes confirms, after which the connection is given up."""
RUN: Final = 1000
"""Messages that are sent in one step: many callers share the connection."""
PATIENCE: Final = 60.0
"""Seconds for which a message without a confirm keeps its room: a queue without a leader confirms none."""
LOOK: Final = 1.0
"""Seconds between two looks for both."""


class AmqpPublisher:
    """Publishes over one connection. Whatever happens to it, each call ends within its deadline."""

    def __init__(self, link: AmqpLink, *, count: int = COUNT, size: int = SIZE) -> None:
        self._link = link
        self._window = SendWindow(count, size)
        self._silence = SILENCE
        self._patience = PATIENCE
        self._channels = ConfirmChannels(self._window)
        self._deadlines = Deadlines()
        self._watch: asyncio.TimerHandle | None = None
        self._owed_since = 0.0

    @property
    def unconfirmed(self) -> int:
        """The number of messages that are sent and not confirmed."""
        return self._window.count

    async def publish(self, messages: Sequence[AmqpMessage], timeout: float) -> list[Publishing]:
        """Publish the messages; return what became of each, in order, within `timeout` seconds.

        While the server takes no messages (an alarm), nothing more is sent. Raise ConfigurationError for a name over
        255 bytes, TableError for properties that AMQP cannot say; nothing was sent then.
        """
        batch = PublishBatch(messages)
        try:
            with self._deadlines.within(timeout):
                await self._send(batch)
                await batch.wait()
        except TimeoutError:
            late = f"within {timeout:g} s{f': {self._link.blocked}' if self._link.blocked else ''}"
            for place in range(len(messages)):
                if place < batch.sent:
                    batch.answer(place, Publishing("unknown", f"no confirm {late}"))
                else:
                    batch.answer(place, Publishing("unsent", f"{batch.waits_for} {late}"))
        return [answer for answer in batch.answers if answer is not None]

    async def _send(self, batch: PublishBatch) -> None:
        """Send all messages, each lane on its channel, as far as there is room."""
        messages, sizes = batch.messages, batch.sizes
        while batch.sent < len(messages):
            batch.waits_for = "no connection"
            try:
                wire = await self._link.get()
            except StoreError as error:
                self._leave_out(batch, len(messages), error)
                return
            if wire.blocked is not None:
                batch.waits_for = "the server took no messages"
                await self._link.unblocked()
                continue
            lane = lane_of(messages[batch.sent])
            end = _end_of_lane(messages, batch.sent, lane)
            batch.waits_for = "no channel"
            try:
                channel = await self._channels.get(wire, lane)
            except StoreError as error:
                if wire.alive:
                    self._leave_out(batch, end, error)
                continue
            batch.waits_for = "no room beside the messages that are not confirmed"
            number = await self._window.enter(sizes[batch.sent : end])
            end = batch.sent + number
            try:
                if channel.alive:
                    self._send_up_to(end, batch, channel, wire.frame_max)
            finally:
                self._window.leave(end - batch.sent, sum(sizes[batch.sent : end]))
                self._start_watch(wire)

    def _send_up_to(self, end: int, batch: PublishBatch, channel: ConfirmChannel, frame_max: int) -> None:
        """Send the next messages of a batch, which have their room."""
        while batch.sent < end:
            place = batch.sent
            header = batch.headers[place]
            if len(header) + HEADER_OVERHEAD <= frame_max:
                channel.send(batch, place)
            else:
                self._window.leave(1, batch.sizes[place])
                batch.answer(place, _headers_too_large(header, frame_max))
            batch.sent += 1

    def _leave_out(self, batch: PublishBatch, end: int, error: StoreError) -> None:
        answer = Publishing("unsent", str(error), getattr(error, "code", 0))
        for place in range(batch.sent, end):
            batch.answer(place, answer)
        batch.sent = end

    def _start_watch(self, wire: AmqpWire) -> None:
        if self._watch is None and self._window.count:
            self._owed_since = wire.loop.time()
            self._watch = wire.loop.call_later(LOOK, self._look)

    def _look(self) -> None:
        """Doubt a connection on which nothing comes while confirms are owed, and give up old messages."""
        self._watch = None
        wire = self._link.wire
        if not self._window.count:
            return
        loop = asyncio.get_running_loop()
        if wire is not None and wire.blocked is None:
            if loop.time() - max(wire.last_received, self._owed_since) > self._silence:
                wire.suspect(f"no answer within {self._silence:g} s")
            for channel in self._channels:
                channel.give_up(loop.time() - self._patience)
        self._watch = loop.call_later(min(LOOK, self._silence / 4), self._look)


def _end_of_lane(messages: Sequence[AmqpMessage], start: int, lane: Lane) -> int:
    """Return where messages for another channel begin, at most RUN messages behind `start`."""
    most = min(start + RUN, len(messages))
    for place in range(start + 1, most):
        if lane_of(messages[place]) != lane:
            return place
    return most


def _headers_too_large(header: bytes, frame_max: int) -> Publishing:
    why = f"its properties have {len(header)} bytes, and a frame takes {frame_max - HEADER_OVERHEAD}"
    return Publishing("unsent", f"{why}: shorten its headers, or raise frame_max of the server", never=True)
