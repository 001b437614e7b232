"""The protocol that counts ended jobs by queue, kind and outcome, and the rules of what is counted as what."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from typing import Final, Literal, Protocol

from outlast.core.kinds import name_of

__all__ = ["MOST_KINDS", "OTHER", "OUTCOMES", "Outcome", "Totals", "counted_as", "of_queues"]

Outcome = Literal["succeeded", "dead", "cancelled", "expired", "shed", "replaced"]
OUTCOMES: Final[tuple[Outcome, ...]] = ("succeeded", "dead", "cancelled", "expired", "shed", "replaced")
"""How a job may end; no end is two of them. A job that was shed, or replaced, counts as nothing else."""
OTHER: Final = "other"
"""The kind of all ended jobs whose kind is not declared for their queue."""
MOST_KINDS: Final = 1000
"""The most kinds that are counted by name for one queue; those that are declared after them count as OTHER."""


class Totals(Protocol):
    """Count every job that ends, in the step that ends it, whichever that is.

    An end is counted when the store writes it: a read that finds a waiting job to be too late counts nothing. A purge
    of an unfinished job counts as `expired` if it is too late to start, else as `cancelled`. A redrive takes nothing
    back: the next end of the job counts again. A job that moved to another store ends there, and counts there alone.
    So the jobs of a queue that were accepted, adopted and redriven after an end are those that are unfinished, that
    have ended by these counts, and that have moved away.
    """

    async def totals(self, queues: Sequence[str] = ()) -> dict[tuple[str, str, Outcome], int]:
        """Return the number of ended jobs by (queue, kind, outcome) of these queues, of all when empty.

        kind: the declared name, without a version; OTHER for a kind that was never declared for the queue. A declared
        kind is there with each outcome, at 0, from its declaration on. No count falls, and none is ever removed, as
        long as the store keeps its data.
        """
        ...


def counted_as(kind: str, declared: Container[str]) -> str:
    """Return the kind under which a job of this wire kind is counted. declared: the names that its queue counts."""
    name = name_of(kind)
    return name if name in declared else OTHER


def of_queues(
    totals: Mapping[tuple[str, str, str], int] | Mapping[tuple[str, str, Outcome], int],
) -> dict[str, dict[str, int]]:
    """Return the ended jobs of all kinds, by queue and outcome."""
    found: dict[str, dict[str, int]] = {}
    for (queue, _, outcome), number in totals.items():
        of_queue = found.setdefault(queue, {})
        of_queue[outcome] = of_queue.get(outcome, 0) + number
    return found
