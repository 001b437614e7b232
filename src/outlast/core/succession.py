"""The rules of a successor: the newest job of a unique key, which waits while the holder of the key is out of reach.

A holder that runs, or that a move holds, does the work that it was accepted with. A successor waits beside it, and
takes the key as soon as the holder is done or would wait to run again.
"""

from __future__ import annotations

from typing import Final, Literal

from outlast.core.message import State

__all__ = ["BLOCKED", "Meeting", "Turn", "meets", "turn_of"]

BLOCKED: Final = "waits for "
"""How the reason of a successor begins; the id of the job that holds the key follows."""

Meeting = Literal["exists", "replaces", "follows"]
Turn = Literal["waits", "takes", "replaces", "yields", "expires"]
_WAITS: Final = frozenset(("ready", "scheduled", "parked"))


def meets(holder: State, *, replace: bool, cancelling: bool = False) -> Meeting:
    """Return what becomes of a new job whose unique key is held, and has no successor yet.

    holder: the state of the job that holds the key. cancelling: it runs and was told to stop. "exists": nothing is
    stored, the holder is the answer; "replaces": the holder ends, and the new job takes the key; "follows": the new job
    waits as the successor.
    """
    if holder in _WAITS:
        return "replaces" if replace else "exists"
    if holder == "running":
        return "follows" if replace or cancelling else "exists"
    if holder == "waiting":
        return "follows" if replace else "exists"
    return "exists"  # it has ended, and keeps its key for a time


def turn_of(holder: State | None, *, late: bool = False, lapsed: bool = False, newer: bool = False) -> Turn:
    """Return what a successor does now.

    holder: the state of the job that holds the key, None if no job does. late: the successor is too late to start.
    lapsed: the holder's time for the key is over. newer: the holder was accepted after the successor, by code that
    knows no successors. "waits": nothing; "takes": it takes the key; "replaces": the holder, which waits to run again,
    ends as cancelled ("replaced") and gives its key up; "yields": the successor itself ends so; "expires": it ends as
    expired.
    """
    if late:
        return "expires"
    if holder is None or lapsed:
        return "takes"
    if newer:
        return "yields"
    if holder in _WAITS:
        return "replaces"
    return "waits" if holder in ("running", "waiting") else "takes"
