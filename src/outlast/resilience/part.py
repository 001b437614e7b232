"""The guards of an app as one of its parts: what they measure."""

from __future__ import annotations

from typing import Final

from outlast.core.parts import Metric, Part

__all__ = ["GUARDS"]

GUARDS: Final = Part(
    "guards",
    metrics=(
        Metric("guard_openings", "counter", "Openings of a guard in this process (GuardOpened).", ("guard", "shared")),
        Metric("guard_open_seconds", "histogram", "How long a guard was open (GuardClosed).", ("guard",)),
        Metric("guard_share_ratio", "gauge", "Share of the calls that is made: 0 while it is open.", ("guard",)),
        Metric("guard_in_flight_calls", "gauge", "Guarded calls that have not ended.", ("guard",)),
    ),
)
"""It has no health of its own: an open guard does what it is for, and the process can work."""
