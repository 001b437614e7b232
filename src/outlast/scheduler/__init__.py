"""Fire schedules (cron and intervals) in every worker process, each tick once."""

from __future__ import annotations
