"""What is counted of schedules: ticks that this process fired or skipped, and alarms."""

from __future__ import annotations

from typing import Final

from outlast.meters import meters

__all__ = ["SCHEDULE_ALARMS", "SCHEDULE_TICKS", "ScheduleCounts"]

SCHEDULE_TICKS: Final = meters.counter(
    "outlast_schedule_ticks_total",
    "Ticks of schedules that this process took: each is taken by one process. skipped: missed, or the last run had not "
    "ended (misfire=, overlap=).",
    ("app", "schedule", "result"),
)
SCHEDULE_ALARMS: Final = meters.counter(
    "outlast_schedule_alarms_total",
    "Alarms of this process that a schedule cannot run, repeated every five minutes while the cause lasts.",
    ("app", "schedule"),
)


class ScheduleCounts:
    """The schedules of one app."""

    def __init__(self, app: str) -> None:
        self._app = app

    def declared(self, schedule: str) -> None:
        """Have the series of a schedule from now on."""
        self.taken(schedule, 0, 0)
        self.alarm(schedule, 0)

    def taken(self, schedule: str, fired: int, skipped: int) -> None:
        """Count ticks that this process has taken."""
        SCHEDULE_TICKS.of(self._app, schedule, "fired").add(fired)
        SCHEDULE_TICKS.of(self._app, schedule, "skipped").add(skipped)

    def alarm(self, schedule: str, number: int = 1) -> None:
        """Count an alarm."""
        SCHEDULE_ALARMS.of(self._app, schedule).add(number)
