"""What is counted of enqueues: jobs that the store accepted, those that were refused, and those in the spool."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, get_args

from outlast.core.events import Refusal
from outlast.core.message import Message
from outlast.core.registry import Registry
from outlast.core.settlement import ACCEPTED, Accepted, Published
from outlast.enqueue.answers import SameKind, refused
from outlast.meters import meters
from outlast.meters.metric import OTHER

__all__ = ["EnqueueCounts", "SpoolCounts"]

ENQUEUED: Final = meters.counter(
    "outlast_enqueued_total",
    "Jobs that the store accepted from callers in this process, with the copies of events; kinds that the app does not "
    "declare are other. Not: follow-ups of jobs, and runs of schedules.",
    ("app", "queue", "kind"),
)
REFUSED: Final = meters.counter(
    "outlast_refused_total",
    "Enqueues that raised. unknown: the store did not answer and may have accepted the job; spool: the store was away, "
    "and the spool took no more.",
    ("app", "queue", "reason"),
)
SPOOLED: Final = meters.counter("outlast_spooled_total", "Jobs that went to the spool.", ("app", "queue"))
RELAYED: Final = meters.counter(
    "outlast_spool_relayed_total",
    "Jobs that left the spool. stored: the store has them; set-aside: it never takes them, and they stay in the file.",
    ("app", "result"),
)
_REASONS: Final = get_args(Refusal)


class EnqueueCounts:
    """The enqueues of one app. The series of what it declares exist from now on."""

    def __init__(self, app: str, registry: Registry) -> None:
        self._app = app
        self._registry = registry
        for each in registry.declarations.values():
            ENQUEUED.of(app, each.queue, each.kind)
        for queue in {*registry.queues, *(each.queue for each in registry.declarations.values())}:
            for reason in _REASONS:
                REFUSED.of(app, queue, reason)

    def answered(self, messages: Sequence[Message], answers: Sequence[Published], same_kind: SameKind) -> None:
        """Count what became of a publish. A job that exists already is neither accepted nor refused."""
        if len(messages) == 1 and answers[0] == ACCEPTED:
            self._accepted(messages[0].queue, messages[0].kind, 1)
            return
        accepted: dict[tuple[str, str], int] = {}
        for message, answer in zip(messages, answers, strict=True):
            if isinstance(answer, Accepted):
                place = message.queue, message.kind
                accepted[place] = accepted.get(place, 0) + 1
            elif refusal := refused(message, answer, same_kind):
                REFUSED.of(self._app, message.queue, refusal.reason).add()
        for (queue, kind), number in accepted.items():
            self._accepted(queue, kind, number)

    def failed(self, messages: Sequence[Message], reason: Refusal) -> None:
        """Count jobs that were all refused."""
        for message in messages:
            REFUSED.of(self._app, message.queue, reason).add()

    def _accepted(self, queue: str, kind: str, number: int) -> None:
        declaration = self._registry.kinds.get(kind)
        ENQUEUED.of(self._app, queue, OTHER if declaration is None else declaration.kind).add(number)


class SpoolCounts:
    """The spool of one app. queues: those whose series exist from now on."""

    def __init__(self, app: str, queues: Iterable[str] = ()) -> None:
        self._app = app
        for queue in queues:
            SPOOLED.of(app, queue)
            REFUSED.of(app, queue, "spool")
        self.stored: Final = RELAYED.of(app, "stored")
        self.set_aside: Final = RELAYED.of(app, "set-aside")

    def spooled(self, messages: Sequence[Message]) -> None:
        """Count jobs that the file has now."""
        for message in messages:
            SPOOLED.of(self._app, message.queue).add()

    def full(self, messages: Sequence[Message]) -> None:
        """Count jobs for which the file has no room."""
        for message in messages:
            REFUSED.of(self._app, message.queue, "spool").add()
