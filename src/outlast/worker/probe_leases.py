"""The leases of the probes of runs that have not called their guards yet."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from outlast.resilience.gate import RENEW, Probe
from outlast.worker.run import Run

__all__ = ["ProbeLeases"]


class ProbeLeases:
    """Renews the leases of probes whose runs have made no call yet, each RENEW of the shortest one.

    Without it a guard would stay open whose jobs take longer than its `probe_lease` to their first call. It ends with
    the run: a run without a timeout that never calls and never ends keeps its probe. Call it in the loop's thread.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._runs: list[tuple[Run, Probe]] = []
        self._timer: asyncio.TimerHandle | None = None

    def add(self, run: Run, probes: Sequence[Probe]) -> None:
        """Renew these probes until the run has made its call, or has ended."""
        self._runs += ((run, probe) for probe in probes)
        self._set_timer()

    def _set_timer(self) -> None:
        if not self._runs:
            return
        at = self._loop.time() + RENEW * min(probe.lease for _, probe in self._runs)
        if self._timer is None or at < self._timer.when():
            if self._timer is not None:
                self._timer.cancel()
            self._timer = self._loop.call_at(at, self._renew)

    def _renew(self) -> None:
        self._timer = None
        self._runs = [(run, probe) for run, probe in self._runs if probe.waits and not run.ended]
        for _, probe in self._runs:
            probe.renew()
        self._set_timer()
