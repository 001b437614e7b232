"""Exit codes of commands, workers and supervisors, with their meaning; docs/cli.md shows this table."""

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
    CLEAN: "done; a worker stopped on request, with every job settled or released",
    FAILED: "a check failed, part of the request could not be done, or an unexpected error occurred",
    CONFIG: "the command line, the target, a declaration or a setting is wrong; the message names it and the fix",
    STORE: "the store is missing, damaged, unsafe here or unreachable; it was not changed",
    CRASHING: "worker processes died repeatedly before they were ready",
    STALLED: "the store stopped answering, also on a new connection; start the process again",
    NOT_FOUND: "none of the named items exists",
    INTERRUPTED: "interrupted with Ctrl-C before the command was done",
}
