"""Unique keys: at most one job of a queue holds a key at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from msgspec import Struct, structs

from outlast.core.bounds import checked_text, plain_text
from outlast.core.durations import LONGEST, Duration, seconds
from outlast.core.errors import ConfigurationError
from outlast.core.text import shown

__all__ = ["OnConflict", "Unique", "stored_key"]

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

    scope: which jobs of the queue compete for the text, those of the same kind or all. An enqueue applies it: the `key`
    of a message is the text that the store compares (`stored_key`).
    """

    key: str
    until: Literal["start", "finish"] = "finish"
    seconds: float | None = None
    replace: bool = False
    scope: Literal["kind", "queue"] = "kind"

    if TYPE_CHECKING:

        def __init__(
            self,
            key: str,
            until: Literal["start", "finish"] = ...,
            seconds: Duration | None = ...,
            replace: bool = ...,
            scope: Literal["kind", "queue"] = ...,
        ) -> None: ...

    def __post_init__(self) -> None:
        if not isinstance(self.key, str):
            raise ConfigurationError(f"unique={shown(self.key)}: give text, or Unique(text, ...)")
        key = checked_text(self.key, "unique key", least=1)
        if key is not self.key:
            structs.force_setattr(self, "key", key)
        if self.until != "finish":
            self._check_word("until", "start", "finish")
        if self.scope != "kind":
            self._check_word("scope", "kind", "queue")
        if type(self.replace) is not bool:
            raise ConfigurationError(f"Unique(replace={shown(self.replace)}): give True or False")
        if self.seconds is not None and type(self.seconds) is not float:
            structs.force_setattr(self, "seconds", seconds(self.seconds, "Unique(seconds)"))
        if self.seconds is not None and not 0 < self.seconds <= LONGEST:
            raise ConfigurationError(f"Unique(seconds={self.seconds}): give seconds above 0, or leave it out")

    def _check_word(self, name: str, *words: str) -> None:
        word: object = getattr(self, name)
        if not isinstance(word, str) or word not in words:
            instead = ", or seconds=" if name == "until" else ""
            raise ConfigurationError(f"Unique({name}={shown(word)}): give {words[0]!r} or {words[1]!r}{instead}")
        structs.force_setattr(self, name, plain_text(word))


def stored_key(kind: str, text: str, scope: Literal["kind", "queue"] = "kind") -> str:
    """Return the unique key of a message: two kinds with the same text do not compete, unless the scope is the queue.

    kind: the present name of the kind, without a version, so that a new version keeps its keys.
    """
    return text if scope == "queue" else f"{kind}:{text}"
