"""What the exit code of a command, a worker or a supervisor says; docs/cli.md shows this table."""

from __future__ import annotations

from typing import Final

__all__ = ["CLEAN", "CONFIG", "CRASHING", "FAILED", "INTERRUPTED", "MEANING", "NOT_FOUND", "STALLED", "STORE"]

CLEAN: Final = 0
FAILED: Final = 1
CONFIG: Final = 2
STORE: Final = 3
CRASHING: Final = 4
STALLED: Final = 5
NOT_FOUND: Final = 6
INTERRUPTED: Final = 130

MEANING: Final[dict[int, str]] = {
    CLEAN: "done; a worker stopped when asked, with every job settled or handed back",
    FAILED: "something was found that must be fixed, part of what was asked could not be done, or an unexpected error",
    CONFIG: "the command line, the target, a declaration or a setting is wrong; the message names it and the fix",
    STORE: "the store is missing, damaged, unsafe here or out of reach; it was left untouched",
    CRASHING: "worker processes died again and again before they were ready",
    STALLED: "the store stopped answering, also on a fresh connection; start again",
    NOT_FOUND: "nothing that was named is there",
    INTERRUPTED: "interrupted with Ctrl-C before it was done",
}
