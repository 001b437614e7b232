"""What came of commands, told for each thing that was named, and the exit code that stands for all of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import typer

from outlast.cli.output import show
from outlast.core.exitcodes import FAILED, NOT_FOUND
from outlast.core.store.control import Answer
from outlast.core.text import clean

__all__ = ["explain", "print_answers"]

_WHY: Final = {
    "unknown": "not found: it never was here, or was removed (retention or purge)",
    "running": "is running: cancel it first",
    "ended": "has already ended",
    "not-ended": "has not ended: it still waits or runs",
    "not-waiting": "is not waiting for a time: it is due already",
    "nothing-named": "nothing was named",
    "held": "is set aside by outlast move: repeat that move, or outlast jobs put-back it",
    "declared": "is declared by an app, which would bring it back: take it out of the code, or pause it",
    "moved": "lives in another store now (outlast move)",
    "too-large": "its arguments are larger than max_body there",
    "conflict": "another job holds its unique key: wait for that one, or cancel it",
}


def explain(why: str) -> str:
    """Return why nothing could be done, in words."""
    return _WHY.get(why, why)


def print_answers(
    names: Sequence[str], answers: Sequence[Answer], *, json: bool, done: str, unchanged: str = "", noun: str = "job"
) -> None:
    """Print one line, or one JSON object, for each name; exit 6 when none is there, 1 when some could not be done."""
    pairs = list(zip(names, answers, strict=True))
    if json:
        show.json(
            {"answers": [{"id": name, "ok": each.ok, "changed": each.changed, "why": each.why} for name, each in pairs]}
        )
    for name, answer in pairs:
        if answer.ok and not json:
            show.say(f"{clean(name)} {done if answer.changed or not unchanged else unchanged}")
        elif not answer.ok and not json:
            what = f"no {noun} of this name" if noun != "job" and answer.why == "unknown" else explain(answer.why)
            show.note(f"outlast: {clean(name)}: {what}")
    failed = [answer for answer in answers if not answer.ok]
    if failed:
        raise typer.Exit(NOT_FOUND if all(answer.why == "unknown" for answer in failed) else FAILED)
