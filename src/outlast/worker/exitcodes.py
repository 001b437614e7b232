"""What the exit code of a worker or a supervisor says; docs and the CLI show this table."""

from __future__ import annotations

from typing import Final

__all__ = ["CLEAN", "CONFIG", "CRASHING", "FAILED", "MEANING", "STALLED", "STORE"]

CLEAN: Final = 0
FAILED: Final = 1
CONFIG: Final = 2
STORE: Final = 3
CRASHING: Final = 4
STALLED: Final = 5

MEANING: Final[dict[int, str]] = {
    CLEAN: "stopped when asked; every job is settled or handed back",
    FAILED: "an error that should not happen; its traceback is in the log",
    CONFIG: "the target, a declaration or a setting is wrong; the log names it and the fix",
    STORE: "the store is damaged or unsafe here and was left untouched",
    CRASHING: "worker processes died again and again before they were ready",
    STALLED: "the store stopped answering, also on a fresh connection; start again",
}
