"""The SQLite store of the workers, which also writes down what was handed out and what settlements were answered."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from outlast.brokers.sqlite import SqliteStore
from outlast.core.clock import Clock
from outlast.core.message import Delivery, Holder
from outlast.core.settlement import Finish, Lost, Settlement
from tests.faults.survival.ledger import Handed, Ledger, Settled, now

__all__ = ["WitnessedStore"]


class WitnessedStore(SqliteStore):
    """SqliteStore and nothing else, but for the lines in the ledger."""

    def __init__(self, path: str, *, clock: Clock, max_body: int, ledger: Ledger) -> None:
        super().__init__(path, clock=clock, max_body=max_body)
        self._ledger = ledger

    async def claim(
        self, demand: Mapping[str, int], *, limit: int, holder: Holder, lease: float, wait: float
    ) -> list[Delivery]:
        """Claim, and write down what came."""
        given = await super().claim(demand, limit=limit, holder=holder, lease=lease, wait=wait)
        by_token: dict[int, list[tuple[str, int, int]]] = defaultdict(list)
        for each in given:
            by_token[each.fence.token].append((each.message.id, each.attempt, each.crashes))
        for token, jobs in by_token.items():
            self._ledger.write(Handed(token=token, holder=holder.id, jobs=tuple(jobs)))
        return given

    async def settle(self, settlements: Sequence[Settlement]) -> list[Lost]:
        """Settle, and write down what was accepted and what was refused."""
        began = now()
        lost = await super().settle(settlements)
        refused = {(each.fence.id, each.fence.token) for each in lost}
        said = [(each.fence.id, each.fence.token, _verdict(each)) for each in settlements]
        self._ledger.write(
            Settled(
                began=began,
                accepted=tuple(each for each in said if each[:2] not in refused),
                superseded=tuple(each for each in said if each[:2] in refused),
            )
        )
        return lost


def _verdict(settlement: Settlement) -> str:
    return settlement.state if isinstance(settlement, Finish) else type(settlement).__name__.lower()
