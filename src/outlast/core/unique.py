"""Unique keys: at most one job of a queue holds a key at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from msgspec import Struct, structs

from outlast.core.bounds import KEY_LIMIT, check_text
from outlast.core.durations import LONGEST, Duration, seconds
from outlast.core.errors import ConfigurationError

__all__ = ["OnConflict", "Unique"]

OnConflict = Literal["existing", "replace", "raise"]
"""What an enqueue does when another job holds its unique key."""


class Unique(Struct, frozen=True, omit_defaults=True):
    """A unique key that the job holds within its queue.

    until "finish": every terminal state frees the key. until "start": a claim of the job frees it (a later attempt does
    not take it back). seconds: the key is freed this duration after acceptance, whatever the job does, or when the job
    is cancelled. A job frees only a key that it holds itself.

    replace: a waiting job that holds the key ends as cancelled ("replaced"), and the new job takes the key, in one
    step. While the job that holds it runs, the new job waits as its successor (core.succession). One that has ended is
    not replaced.
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
