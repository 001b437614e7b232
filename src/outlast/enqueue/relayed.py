"""Publishes what waited in the spool; large arguments are put once, however often the store of the jobs is away."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from msgspec import Struct

from outlast.core.message import Message
from outlast.core.settlement import Full, Published
from outlast.core.toolkit_errors import ToolkitAway
from outlast.enqueue.composer import Composer
from outlast.enqueue.connections import Connections
from outlast.enqueue.late import publish_late
from outlast.toolkit.objects.claims import Deposit

__all__ = ["Relayed"]

AGAIN: Final = 1.0
"""Seconds until jobs are tried again whose arguments cannot be put, as the object store is away."""


class _Lightened(Struct, frozen=True):
    """What stands for large arguments of a spooled message. began: `Claims.moment` of before the put."""

    message: Message
    key: str
    began: float


class Relayed:
    """Publishes spooled messages to the store of the running loop, and notifies the observers of what is new."""

    def __init__(self, composer: Composer, connections: Connections) -> None:
        self._composer = composer
        self._connections = connections
        self._held_back: set[str] = set()
        """Spooled jobs whose full queue the observers know of."""
        self._put: dict[str, _Lightened] = {}
        """What was put for messages that the store has not taken yet, by their ids."""

    async def publish(self, messages: Sequence[Message]) -> list[Published]:
        """Publish spooled messages, some perhaps again; return the answers in order.

        A full queue is told once for each job, not at each attempt. While the object store is away, jobs with large
        arguments stay behind, and the others go.
        """
        runtime = await self._connections.get()
        if not runtime.claims.any_heavy(messages):
            return await self._publish(messages, messages)
        sent = [await self._lighter(message) for message in messages]
        going = [index for index, message in enumerate(sent) if message is not None]
        answers: list[Published] = [Full(AGAIN)] * len(messages)
        if going:
            told = await self._publish([messages[i] for i in going], [m for i in going if (m := sent[i]) is not None])
            for index, answer in zip(going, told, strict=True):
                answers[index] = answer
        return answers

    async def _lighter(self, message: Message) -> Message | None:
        """Return a message as it is sent, None if its arguments cannot be put now."""
        claims = self._composer.claims
        if not claims.any_heavy([message]):
            return message
        put = self._put.get(message.id)
        if put is None or claims.is_late(put.began):
            began = claims.moment()
            try:
                (sent,), (deposit,) = await claims.check_in([message])
            except ToolkitAway:
                return None
            assert deposit is not None  # it is heavy
            if len(self._put) >= self._composer.settings.spool_limit:
                self._put.clear()  # another process has relayed those: no file holds more
            put = self._put[message.id] = _Lightened(sent, deposit.key, began)
        return put.message

    async def _publish(self, messages: Sequence[Message], sent: Sequence[Message]) -> list[Published]:
        runtime = await self._connections.get()
        async with asyncio.timeout(self._composer.settings.enqueue_timeout):
            answers = await publish_late(runtime.store, sent)
        for message, answer in zip(messages, answers, strict=True):
            put = None if isinstance(answer, Full) else self._put.pop(message.id, None)
            if put is not None:
                await runtime.claims.publish_done([Deposit(put.key, bytes(message.args))], [answer], put.began)
        news = [pair for pair in zip(messages, answers, strict=True) if self._is_news(*pair)]
        if news:
            runtime.emit_published(*zip(*news, strict=True))
        return answers

    def _is_news(self, message: Message, answer: Published) -> bool:
        if not isinstance(answer, Full):
            self._held_back.discard(message.id)
            return True
        known = message.id in self._held_back
        if len(self._held_back) >= self._composer.settings.spool_limit:
            self._held_back.clear()  # another process has relayed those: no file holds more
        self._held_back.add(message.id)
        return not known
