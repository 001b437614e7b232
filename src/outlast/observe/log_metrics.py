"""What the log counts."""

from __future__ import annotations

from typing import Final

from outlast.meters import meters

__all__ = ["LEFT_OUT"]

LEFT_OUT: Final = meters.counter(
    "outlast_log_lines_left_out_total", "Lines about events that the limit of the log has left out.", ("event",)
)
