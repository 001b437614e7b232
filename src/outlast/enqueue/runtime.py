"""A Runtime publishes messages to one opened store and tells observers what came of it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

from outlast.aio.deadlines import Deadlines
from outlast.core.errors import EnqueueUnknown, StoreError, StoreUncertain
from outlast.core.events import Event, JobRefused, Observers, Refusal
from outlast.core.message import Message
from outlast.core.settlement import ACCEPTED, Accepted, Exists, Published
from outlast.enqueue.answers import events_of, raise_refused
from outlast.enqueue.composer import Composer

if TYPE_CHECKING:
    from outlast.core.store.store import Store

__all__ = ["Runtime"]

_log = logging.getLogger("outlast")


@dataclass(frozen=True, slots=True, kw_only=True)
class Runtime(Composer):
    """A Composer with an opened store. One for each event loop; `app.wire` makes it."""

    store: Store
    observers: Observers = field(default_factory=Observers)
    _muted: set[int] = field(default_factory=set)
    _deadlines: Deadlines = field(default_factory=Deadlines)

    async def publish(
        self, messages: Sequence[Message], timeout: float | None = None, *, quiet: bool = False
    ) -> list[Accepted | Exists]:
        """Store the messages in one step; the answers align with them. Repeating the same messages is safe.

        timeout: seconds, None for `enqueue_timeout`. Raise EnqueueUnknown past it, or when the connection to the store
        broke; QueueFull, BodyTooLarge or StoreError for the first message that was refused (others of the call may have
        been accepted). quiet: observers hear nothing of a store that does not answer: the spool takes the messages.
        """
        if not messages:
            return []
        limit = self.settings.enqueue_timeout if timeout is None else timeout
        try:
            with self._deadlines.within(limit):
                answers = await self.store.broker.publish(messages)
        except TimeoutError:
            self._emit_refused(() if quiet else messages, "unknown")
            raise EnqueueUnknown(messages[0].id, f"no answer within {limit:g} s (enqueue_timeout)") from None
        except StoreUncertain as error:
            self._emit_refused(() if quiet else messages, "unknown")
            raise EnqueueUnknown(messages[0].id, str(error)) from error
        except StoreError:
            self._emit_refused(() if quiet else messages, "store")
            raise
        if self.observers:
            self.emit_published(messages, answers)
        if answers.count(ACCEPTED) != len(answers):
            raise_refused(messages, answers)
        return cast("list[Accepted | Exists]", answers)

    def emit_published(self, messages: Sequence[Message], answers: Sequence[Published]) -> None:
        """Tell the observers what the store answered to a publish."""
        for event in events_of(messages, answers):
            self.emit(event)

    def _emit_refused(self, messages: Sequence[Message], reason: Refusal) -> None:
        for message in messages:
            self.emit(JobRefused(message.id, message.queue, message.kind, reason))

    def emit(self, event: Event) -> None:
        """Tell every observer; one that raises is logged once and changes nothing."""
        for observer in self.observers.of(type(event)):
            try:
                observer(event)
            except Exception:
                if id(observer) not in self._muted:
                    self._muted.add(id(observer))
                    _log.exception("observer %r failed; its further failures are not logged", observer)
