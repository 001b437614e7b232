"""The channels that publish on a connection: one for each exchange, and for each queue that is published to."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Final

from outlast.clients.amqp.confirms import AmqpMessage, ConfirmChannel
from outlast.clients.amqp.window import SendWindow
from outlast.clients.amqp.wire import AmqpWire

__all__ = ["ConfirmChannels", "Lane", "lane_of"]

MOST: Final = 256
"""Channels from which on further queues share one."""

Lane = tuple[str, str]
"""An exchange, or the default one with the name of a queue."""


def lane_of(message: AmqpMessage) -> Lane:
    """Return what the channel of this message is for.

    The server closes a channel whose exchange is missing, and stops one whose queue has no leader: none of others.
    """
    return (message.exchange, "" if message.exchange else message.key)


class ConfirmChannels:
    """Opens channels when they are needed, all on the newest connection. All callers of one share one attempt."""

    def __init__(self, window: SendWindow) -> None:
        self._window = window
        self._wire: AmqpWire | None = None
        self._open: dict[Lane, ConfirmChannel] = {}
        self._attempts: dict[Lane, asyncio.Task[ConfirmChannel]] = {}

    def __iter__(self) -> Iterator[ConfirmChannel]:
        return iter(list(self._open.values()))

    async def get(self, wire: AmqpWire, lane: Lane) -> ConfirmChannel:
        """Return the channel of a lane on this connection; raise AmqpRefused (404), StoreUnavailable."""
        if wire is not self._wire:
            self._use(wire)
        if not lane[0] and lane not in self._open and len(self._open) >= MOST:
            lane = ("", "")
        channel = self._open.get(lane)
        if channel is not None and channel.alive:
            return channel
        attempt = self._attempts.get(lane)
        if attempt is None:
            attempt = self._attempts[lane] = asyncio.create_task(self._attempt(wire, lane), name="outlast-amqp-open")
            attempt.add_done_callback(lambda done: self._done(lane, done))
        return await asyncio.shield(attempt)

    def _use(self, wire: AmqpWire | None) -> None:
        self._wire = wire
        self._open.clear()
        self._attempts.clear()
        if wire is not None:
            wire.ended.add_done_callback(lambda _: self._use(None) if wire is self._wire else None)

    async def _attempt(self, wire: AmqpWire, lane: Lane) -> ConfirmChannel:
        channel = ConfirmChannel(lane[0], self._window)
        await channel.open(wire)
        return channel

    def _done(self, lane: Lane, attempt: asyncio.Task[ConfirmChannel]) -> None:
        failed = attempt.cancelled() or attempt.exception() is not None  # read, else asyncio logs it
        if self._attempts.get(lane) is attempt:
            del self._attempts[lane]
            if not failed:
                self._open[lane] = attempt.result()
