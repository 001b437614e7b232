"""The CPU seconds of runs by kind and tenant, as a metric with few tenants."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from outlast.core.history import OTHER, Cost
from outlast.meters import meters

__all__ = ["COST_CPU", "MOST_SHOWN", "TenantCounter"]

MOST_SHOWN: Final = 20
"""Tenants that one process tells apart in the metric; all others are `other`."""
COST_CPU: Final = meters.counter(
    "outlast_cost_cpu_seconds_total",
    "CPU seconds of runs by kind and tenant (the key of the job, '-' without one), where they are measured.",
    ("app", "kind", "tenant"),
    most=500,
)


class TenantCounter:
    """Counts costs for one app. A tenant is told apart from when it is among the dearest, until the process ends.

    It never changes places with `other`: a counter that falls would look like a restart.
    """

    def __init__(self, app: str) -> None:
        self._app = app
        self._shown: dict[str, None] = {}

    def count(self, costs: Sequence[Cost]) -> None:
        """Add the costs of some seconds."""
        for each in sorted(costs, key=lambda cost: -cost.cpu):
            if each.cpu > 0:
                COST_CPU.of(self._app, each.kind, self._label(each.tenant)).add(each.cpu)

    def _label(self, tenant: str) -> str:
        if not tenant:
            return "-"
        if tenant not in self._shown:
            if len(self._shown) >= MOST_SHOWN:
                return OTHER
            self._shown[tenant] = None
        return tenant
