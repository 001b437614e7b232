"""Prints the answers to changes, and the exit code for all of them; asks for confirmation."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Final, NoReturn

import typer

from outlast.cli.output import show
from outlast.core.errors import ConfigurationError
from outlast.core.exitcodes import FAILED, NOT_FOUND
from outlast.core.store.control import Answer
from outlast.core.text import clean

__all__ = ["confirm", "explain", "print_answers", "refuse"]

_WHY: Final = {
    "unknown": "not found: it was never enqueued here, or it was removed (retention or purge)",
    "running": "is running: cancel it first",
    "ended": "has already ended",
    "not-ended": "has not ended: it still waits or runs",
    "not-waiting": "is not scheduled: it is due already",
    "nothing-named": "nothing was named",
    "held": "is held by outlast move: repeat that move, or release it with outlast jobs put-back",
    "declared": "is declared by an app, which would add it again: remove it from the code, or pause it",
    "successor": "waits for the job that holds its unique key: cancel that job, and it runs next",
    "moved": "is in another store now (outlast move)",
    "too-large": "its arguments are larger than max_body there",
    "no-object": "its arguments cannot be fetched from the object store: give the objects_url of its workers "
    "(OUTLAST_OBJECTS_URL), and repeat the move when that store answers",
    "unreadable": "cannot be read: remove it, or replace the arguments of a job with outlast jobs edit --args",
    "conflict": "another job holds its unique key (wait for that job, or cancel it), or one of another kind its id",
}


def explain(why: str) -> str:
    """Return the reason of a refused change as text."""
    return _WHY.get(why, why)


def confirm(question: str, change: str, details: Iterable[str] = ()) -> None:
    """Print the details, ask, and exit 1 unless the answer is yes; raise ConfigurationError without a terminal.

    change: the command and its effect, for that error.
    """
    if not sys.stdin.isatty():
        refuse(change)
    for line in details:
        show.note(line)
    if not typer.confirm(question, err=True):
        raise typer.Exit(FAILED)


def refuse(change: str) -> NoReturn:
    """Raise ConfigurationError: a change needs a confirmation, and there is no terminal."""
    raise ConfigurationError(f"{change}: no terminal: confirm with --yes")


def print_answers(
    names: Sequence[str],
    answers: Sequence[Answer],
    *,
    json: bool,
    done: str,
    unchanged: str = "",
    noun: str = "job",
    unknown: Callable[[str], str] | None = None,
) -> None:
    """Print one line, or one JSON object, for each name; exit 6 if all that failed are unknown, else 1 if any failed.

    done, unchanged: the text after the name if the change was made, or was made before. unknown: returns the text for a
    name that is unknown.
    """
    pairs = list(zip(names, answers, strict=True))
    if json:
        show.json(
            {"answers": [{"id": name, "ok": each.ok, "changed": each.changed, "why": each.why} for name, each in pairs]}
        )
    for name, answer in () if json else pairs:
        if answer.ok:
            show.say(f"{clean(name)} {done if answer.changed or not unchanged else unchanged}")
        else:
            why = explain(answer.why)
            if answer.why == "unknown" and noun != "job":
                why = f"no {noun} of this name" if unknown is None else unknown(name)
            show.note(f"outlast: {clean(name)}: {why}")
    failed = [answer for answer in answers if not answer.ok]
    if failed:
        raise typer.Exit(NOT_FOUND if all(answer.why == "unknown" for answer in failed) else FAILED)
