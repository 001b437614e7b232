"""What a store keeps for people: samples of its queues, a journal, and what runs have cost; the bounds of all three."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, Literal

import msgspec
from msgspec import Struct, structs

from outlast.core.text import is_utf8, line

if TYPE_CHECKING:
    from outlast.core.store.broker import QueueStats

__all__ = [
    "COST_DAYS",
    "DAY",
    "MOST_COSTS",
    "MOST_ENTRIES",
    "OTHER",
    "SORTS",
    "STEPS",
    "Cost",
    "Entry",
    "QueueSample",
    "Sort",
    "Step",
    "day_of",
    "entry",
    "sample_of",
    "slot_of",
]

DAY: Final = 86400
"""Seconds of a day; costs are kept by days of UTC."""
COST_DAYS: Final = 90
"""Days for which costs are kept, today included."""
MOST_COSTS: Final = 10_000
"""The most rows of costs of one day; the next kind and tenant is added to the tenant `other` of its kind."""
OTHER: Final = "other"
"""Stands for all tenants beyond a bound."""
MOST_TEXT: Final = 200
"""The most characters of one text of an entry."""


class Step(Struct, frozen=True):
    """How often a sample is kept, in seconds, and how many of them."""

    seconds: int
    most: int

    @property
    def kept(self) -> int:
        """Seconds for which a sample is kept."""
        return self.seconds * self.most


STEPS: Final = (Step(10, 360), Step(300, 288))
"""A sample every 10 s for an hour, and one every 5 min for 24 h."""


class QueueSample(Struct, frozen=True, array_like=True):
    """One queue at one moment. at: the begin of its slot, wall time of the store in seconds.

    oldest: seconds that the first ready job has waited. ended: by outcome, all jobs that have ended until then; empty
    where the store counts none. New fields go to the end: older code reads the ones that it knows.
    """

    at: float = 0.0
    depth: int = 0
    ready: int = 0
    scheduled: int = 0
    running: int = 0
    parked: int = 0
    waiting: int = 0
    dead: int = 0
    oldest: float = 0.0
    drain_rate: float = 0.0
    consumers: int = 0
    paused: bool = False
    shed: int = 0
    ended: dict[str, int] = {}


def sample_of(stats: QueueStats, ended: Mapping[str, int] | None = None) -> QueueSample:
    """Return the sample of a queue's counts. ended: all its jobs that have ended, by outcome."""
    return QueueSample(
        depth=stats.depth,
        ready=stats.ready,
        scheduled=stats.scheduled,
        running=stats.running,
        parked=stats.parked,
        waiting=stats.successors,
        dead=stats.dead,
        oldest=round(stats.oldest, 3),
        drain_rate=round(stats.drain_rate, 3),
        consumers=stats.consumers,
        paused=stats.paused,
        shed=stats.shed,
        ended=dict(ended or {}),
    )


def slot_of(now: float, step: Step) -> int:
    """Return the number of the slot that `now` is in; there is one sample a slot and queue."""
    return int(now // step.seconds)


Sort = Literal["audit", "mark"]
SORTS: Final[tuple[Sort, ...]] = ("audit", "mark")
"""What operators have done; and what else explains a change of the figures: workers that start, stop and die."""
MOST_ENTRIES: Final[Mapping[Sort, int]] = {"audit": 10_000, "mark": 2_000}
"""The most entries of each sort: workers that start again and again remove no trace of an operator."""


class Entry(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One entry of the journal. at: wall time of the store; the store sets it.

    who: the operator, or the process. what: the command, or what happened. subject: its queue, guard, schedule or job.
    No text of a job's arguments is ever in an entry, and no key of a job.
    """

    sort: Sort
    what: str
    who: str = ""
    subject: str = ""
    detail: str = ""
    at: float = 0.0


def entry(sort: Sort, what: str, *, who: str = "", subject: str = "", detail: str = "") -> Entry:
    """Return an entry, each text on one line and cut to MOST_TEXT characters."""
    return Entry(sort=sort, what=_text(what), who=_text(who), subject=_text(subject), detail=_text(detail))


def _text(text: str) -> str:
    found = line(text if is_utf8(text) else ascii(text))
    return found if len(found) <= MOST_TEXT else found[: MOST_TEXT - 3] + "..."


class Cost(Struct, frozen=True, kw_only=True):
    """What the runs of one kind for one tenant have cost on one day. day: since 1970, in UTC; the store sets it.

    tenant: the key of the jobs, "" for those without one. cpu, wall: seconds. bytes: of arguments and results.
    """

    kind: str
    tenant: str = ""
    day: int = 0
    runs: int = 0
    cpu: float = 0.0
    wall: float = 0.0
    bytes: int = 0

    def __add__(self, other: Cost) -> Cost:
        return structs.replace(
            self,
            runs=self.runs + other.runs,
            cpu=self.cpu + other.cpu,
            wall=self.wall + other.wall,
            bytes=self.bytes + other.bytes,
        )


def day_of(now: float) -> int:
    """Return the day of a wall time: whole days since 1970, in UTC."""
    return int(now // DAY)


SAMPLE: Final = msgspec.json.Decoder(QueueSample).decode
ENTRY: Final = msgspec.json.Decoder(Entry).decode
