"""A Runtime publishes messages to one open store and notifies observers of the result."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, cast

from outlast.aio.deadlines import Deadlines
from outlast.core.errors import EnqueueUnknown, StoreError, StoreUncertain
from outlast.core.events import Event, JobRefused, Observers, Refusal, trace_of
from outlast.core.exchanges.values import ExchangeEvent, Routed
from outlast.core.message import Message
from outlast.core.settlement import ACCEPTED, Accepted, Exists, Published
from outlast.enqueue.answers import events_of, raise_refused
from outlast.enqueue.composer import Composer
from outlast.enqueue.line import Line
from outlast.enqueue.metrics import EnqueueCounts
from outlast.enqueue.notify import notify
from outlast.enqueue.published import copy_messages, with_answers

if TYPE_CHECKING:
    from outlast.core.store.store import Store
    from outlast.toolkit.objects.claims import Deposit

__all__ = ["Runtime"]


class _Deposited(NamedTuple):
    """What was put for messages. began: `Claims.moment` of before the put."""

    deposits: Sequence[Deposit | None]
    began: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Runtime(Composer):
    """A Composer with an open store, one per event loop; `wire` makes it."""

    store: Store
    observers: Observers = field(default_factory=Observers)
    _counts: EnqueueCounts = field(init=False)
    _line: Line = field(default_factory=Line)
    _deadlines: Deadlines = field(default_factory=Deadlines)
    _users: list[None] = field(default_factory=list)

    def __post_init__(self) -> None:
        Composer.__post_init__(self)  # of a class with slots there are two, and super() finds the other one
        object.__setattr__(self, "_counts", EnqueueCounts(self.app_name, self.registry))

    @property
    def used(self) -> bool:
        """Whether a worker uses the store."""
        return bool(self._users)

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Keep the store open within the block, also when the code of a job closes the app."""
        self._users.append(None)
        try:
            yield
        finally:
            self._users.pop()

    async def publish(
        self, messages: Sequence[Message], timeout: float | None = None, *, quiet: bool = False
    ) -> list[Accepted | Exists]:
        """Store the messages in one step; return the answers in order. Repeating the same messages is safe.

        timeout: seconds, None for `enqueue_timeout`. quiet: do not notify observers when the store does not answer,
        since the spool then keeps the messages. Raise EnqueueUnknown past the timeout, or when the connection broke;
        QueueFull, BodyTooLarge, IdConflict, UniqueConflict (of another kind) or StoreError for the first refused
        message (others may have been accepted).
        """
        if not messages:
            return []
        if self.claims.any_heavy(messages):
            return await self._publish_heavy(messages, timeout, quiet=quiet)
        return await self._publish(messages, messages, timeout, quiet=quiet)

    async def _publish_heavy(
        self, messages: Sequence[Message], timeout: float | None, *, quiet: bool
    ) -> list[Accepted | Exists]:
        """Put large arguments to the object store first: a job that is stored has them."""
        began = self.claims.moment()
        try:
            sent, deposits = await self.claims.check_in(messages)
            while self.claims.is_late(began):  # this process stood still meanwhile
                began = self.claims.moment()
                sent, deposits = await self.claims.check_in(messages)
        except StoreError:
            self._emit_refused(() if quiet else messages, "store")
            raise
        return await self._publish(messages, sent, timeout, quiet=quiet, put=_Deposited(deposits, began))

    async def _publish(
        self,
        messages: Sequence[Message],
        sent: Sequence[Message],
        timeout: float | None,
        *,
        quiet: bool,
        put: _Deposited | None = None,
    ) -> list[Accepted | Exists]:
        limit = self.settings.enqueue_timeout if timeout is None else timeout
        try:
            with self._deadlines.within(limit):
                answers = await self.store.broker.publish(sent)
        except TimeoutError:
            if put is not None:
                await self.claims.publish_done(put.deposits, (), put.began)
            self._emit_refused(() if quiet else messages, "unknown")
            raise _unknown(messages, f"no answer within {limit:g} s (enqueue_timeout)") from None
        except StoreUncertain as error:
            if put is not None:
                await self.claims.publish_done(put.deposits, (), put.began)
            self._emit_refused(() if quiet else messages, "unknown")
            raise _unknown(messages, str(error)) from error
        except StoreError:
            if put is not None:
                await self.claims.take_back(put.deposits)
            self._emit_refused(() if quiet else messages, "store")
            raise
        if put is not None:
            await self.claims.publish_done(put.deposits, answers, put.began)
        self.emit_published(messages, answers)
        if answers.count(ACCEPTED) != len(answers):
            answers = self._line.placed(messages, answers, self.clock.monotonic())
            raise_refused(messages, answers, self.registry.same_kind)
        return cast("list[Accepted | Exists]", answers)

    async def publish_events(self, events: Sequence[ExchangeEvent], timeout: float | None = None) -> list[Routed]:
        """Store the copies of events; return what became of each, in order. Repeating the same events is safe.

        Raise EnqueueUnknown past the timeout, or when the connection broke; StoreError; ConfigurationError for an
        exchange that the store does not know. A copy that a queue refused is told in the answer.
        """
        limit = self.settings.enqueue_timeout if timeout is None else timeout
        try:
            with self._deadlines.within(limit):
                routed = await self.store.exchanges.publish_events(events)
        except TimeoutError:
            raise _unknown(events, f"no answer within {limit:g} s (enqueue_timeout)", what="event") from None
        except StoreUncertain as error:
            raise _unknown(events, str(error), what="event") from error
        copies = copy_messages(events, routed)
        answers = [copy.answer for each in routed for copy in each.copies]
        self._counts.answered(copies, answers, _same_kind)
        if self.observers:
            for event in events_of(copies, answers, _same_kind):
                self.emit(event)
        if answers.count(ACCEPTED) != len(answers):
            return with_answers(routed, self._line.placed(copies, answers, self.clock.monotonic()))
        return routed

    def emit_published(self, messages: Sequence[Message], answers: Sequence[Published]) -> None:
        """Count the store's answers to a publish, and notify the observers of them."""
        self._counts.answered(messages, answers, self.registry.same_kind)
        if self.observers:
            for event in events_of(messages, answers, self.registry.same_kind):
                self.emit(event)

    def _emit_refused(self, messages: Sequence[Message], reason: Refusal) -> None:
        self._counts.failed(messages, reason)
        for message in messages:
            self.emit(JobRefused(message.id, message.queue, message.kind, reason, trace_of(message)))

    def emit(self, event: Event) -> None:
        """Notify every observer. If one raises, log its first error; the job is not affected."""
        notify(self.observers, event)


def _same_kind(*_: str) -> bool:
    return True  # the id of a copy is made from its event and its queue: whatever has it is this copy


def _unknown(messages: Sequence[Message | ExchangeEvent], cause: str, *, what: str = "job") -> EnqueueUnknown:
    error = EnqueueUnknown(messages[0].id, cause, [message.id for message in messages], what=what)
    error.unstored = tuple(messages)
    return error
