"""Counting in one process: metrics that parts declare, and their values in memory that a supervisor can read."""

from outlast.meters.meters import Counter, Gauge, Histogram, Meters, Summary, meters

__all__ = ["Counter", "Gauge", "Histogram", "Meters", "Summary", "meters"]
