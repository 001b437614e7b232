"""The metrics of tracing."""

from __future__ import annotations

from typing import Final

from outlast.meters import meters

__all__ = ["DROPPED", "ENDED", "EXPORTED"]

ENDED: Final = meters.counter("outlast_spans_ended_total", "Sampled spans of this process that have ended.").of()
EXPORTED: Final = meters.counter("outlast_spans_exported_total", "Spans that the collector has taken.").of()
_DROPPED = meters.counter(
    "outlast_spans_dropped_total",
    "Spans that no collector got: the queue was full, the export failed, the process ended, or they cannot be relayed.",
    ("reason",),
)
DROPPED: Final = {reason: _DROPPED.of(reason) for reason in ("full", "failed", "late", "unrelayed")}
