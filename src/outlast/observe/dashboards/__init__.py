"""Dashboards for Grafana, as values; `build.py` makes the files of them that ship in the package."""

from outlast.observe.dashboards.dependency import DEPENDENCY
from outlast.observe.dashboards.overview import OVERVIEW
from outlast.observe.dashboards.queue import ONE_QUEUE

__all__ = ["DASHBOARDS"]

DASHBOARDS = (OVERVIEW, ONE_QUEUE, DEPENDENCY)
