"""Unique keys: at most one job of a queue holds a key at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from msgspec import Struct, structs

from outlast.core.bounds import KEY_LIMIT, check_text
from outlast.core.durations import LONGEST, Duration, seconds
from outlast.core.errors import ConfigurationError

__all__ = ["OnConflict", "Unique"]

OnConflict = Literal["existing", "replace", "raise"]
"""What becomes of an enqueue whose unique key another job holds."""


class Unique(Struct, frozen=True, omit_defaults=True):
    """Hold `key` within the job's queue.

    until "finish": freed by every terminal state. until "start": freed when the job is handed out (an attempt that
    runs again does not take it back). `seconds`: freed by itself that long, a duration, after acceptance, whatever the
    job does. A job frees only a key that it holds itself.

    replace: when another job holds the key and waits, it ends as cancelled ("replaced") and this one takes its place,
    in one step; one that runs, or has ended, is not replaced.
    """

    key: str
    until: Literal["start", "finish"] = "finish"
    seconds: float | None = None
    replace: bool = False

    if TYPE_CHECKING:

        def __init__(
            self,
            key: str,
            until: Literal["start", "finish"] = ...,
            seconds: Duration | None = ...,
            replace: bool = ...,
        ) -> None: ...

    def __post_init__(self) -> None:
        if not isinstance(self.key, str):
            raise ConfigurationError(f"unique={self.key!r}: give text, or Unique(text, ...)")
        if not 1 <= len(self.key) <= KEY_LIMIT:
            raise ConfigurationError(f"unique key of {len(self.key)} characters: give 1 to {KEY_LIMIT}")
        check_text(self.key, "unique key")
        if self.until not in ("start", "finish"):
            raise ConfigurationError(f"Unique(until={self.until!r}): give 'start' or 'finish', or seconds=")
        if type(self.replace) is not bool:
            raise ConfigurationError(f"Unique(replace={self.replace!r}): give True or False")
        if self.seconds is not None and type(self.seconds) is not float:
            structs.force_setattr(self, "seconds", seconds(self.seconds, "Unique(seconds)"))
        if self.seconds is not None and not 0 < self.seconds <= LONGEST:
            raise ConfigurationError(f"Unique(seconds={self.seconds}): give seconds above 0, or leave it out")
