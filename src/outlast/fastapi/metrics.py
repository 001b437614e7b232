"""The metrics of HTTP requests."""

from __future__ import annotations

from typing import Final

from outlast.meters import meters

__all__ = ["REQUESTS"]

REQUESTS: Final = meters.histogram(
    "outlast_http_request_seconds",
    "Requests by the template of their route, to the end of the answer.",
    ("method", "route", "status"),
    edges=(0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0),
    most=200,
)
