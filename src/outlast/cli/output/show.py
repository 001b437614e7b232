"""Prints a table on a terminal (rich), aligned text into a pipe, or one JSON document."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any, Final

from outlast.core.errors import OutlastError
from outlast.core.exitcodes import CLEAN
from outlast.core.text import ascii_json, clean, json_line, when

__all__ = ["Cell", "facts", "json", "line", "local_time", "note", "on_terminal", "say", "state", "table"]

Cell = str | int | tuple[str, str]
"""Text, a number (aligned right), or text and its style."""

_STATES: Final = {
    "running": "cyan",
    "succeeded": "green",
    "dead": "bold red",
    "cancelled": "yellow",
    "expired": "yellow",
    "parked": "magenta",
    "scheduled": "blue",
}

_GAP: Final = 2
_NARROWEST: Final = 20


def on_terminal() -> bool:
    """Return whether stdout is a terminal."""
    return sys.stdout.isatty()


def state(name: str) -> tuple[str, str]:
    """Return a state and its colour."""
    return name, _STATES.get(name, "")


def local_time(at: float | None, now: float) -> str:
    """Return a wall time in this machine's time zone, and relative to `now`."""
    if at is None:
        return ""
    return f"{datetime.fromtimestamp(at).astimezone().isoformat(' ', 'milliseconds')}  ({when(at, now)})"


def json(document: Any) -> None:
    """Print one JSON document; a msgspec struct becomes an object with its fields as keys.

    Control characters in its texts are escaped: a terminal must not obey them. It is ASCII where stdout is not UTF-8.
    """
    import msgspec

    text = json_line(msgspec.json.format(msgspec.json.encode(document), indent=2).decode())
    say(text if _is_unicode(sys.stdout.encoding) else ascii_json(text))


def say(text: str = "") -> None:
    """Print a line of the answer to stdout; exit quietly if its reader has gone, as in `outlast jobs | head`."""
    try:
        sys.stdout.write(text + "\n")
    except BrokenPipeError:
        raise SystemExit(CLEAN) from None
    except OSError as error:
        raise OutlastError(f"stdout cannot be written ({error.strerror}): the output is not complete") from None


def note(text: str) -> None:
    """Print a remark to stderr, so that a pipe gets the answer only; without a reader it is left out."""
    with suppress(BrokenPipeError):
        sys.stderr.write(text + "\n")


def _is_unicode(encoding: str | None) -> bool:
    return (encoding or "").lower().replace("-", "").startswith("utf")


def table(heads: Sequence[str], rows: Iterable[Sequence[Cell]], *, empty: str) -> None:
    """Print rows under heads; `empty` (to stderr) if there are none.

    On a terminal that is too narrow, the columns that do not fit follow on a second line of each row, with their heads.
    """
    listed = [[_parts(cell) for cell in row] for row in rows]
    if not listed:
        note(empty)
    elif on_terminal():
        _rich_table(heads, listed)
    else:
        _plain_table(heads, listed)


def _parts(cell: Cell) -> tuple[str, str, bool]:
    if isinstance(cell, tuple):
        return clean(cell[0]).replace("\n", " "), cell[1], False
    return clean(str(cell)).replace("\n", " "), "", isinstance(cell, int)


def _plain_table(heads: Sequence[str], rows: list[list[tuple[str, str, bool]]]) -> None:
    right = [all(row[column][2] for row in rows) for column in range(len(heads))]
    texts = [list(heads), *([text for text, _, _ in row] for row in rows)]
    widths = [max(len(row[column]) for row in texts) for column in range(len(heads))]
    for row in texts:
        cells = (
            text.rjust(width) if aligned else text.ljust(width)
            for text, width, aligned in zip(row, widths, right, strict=True)
        )
        say("  ".join(cells).rstrip())


def _rich_table(heads: Sequence[str], rows: list[list[tuple[str, str, bool]]]) -> None:
    from rich.cells import cell_len
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False)
    cells = [[(head, "dim", False) for head in heads], *rows]
    widths = [max(cell_len(row[column][0]) for row in cells) for column in range(len(heads))]
    right = [all(row[column][2] for row in rows) for column in range(len(heads))]
    # Only the last column may wrap: the values before it must stay whole, to be copied.
    if sum(widths[:-1]) + min(widths[-1], _NARROWEST) + _GAP * (len(heads) - 1) <= console.width:
        drawn = Table(box=None, pad_edge=False, header_style="dim", padding=(0, _GAP, 0, 0))
        for head, aligned, width in zip(heads, right, widths, strict=True):
            last = len(drawn.columns) == len(heads) - 1
            drawn.add_column(
                head,
                justify="right" if aligned else "left",
                no_wrap=not last,
                overflow="fold",
                min_width=min(width, _NARROWEST) if last else width,
            )
        for row in rows:
            drawn.add_row(*(Text(text, style) for text, style, _ in row))
        console.print(drawn)
        return
    fitting = max(1, *(each for each in range(len(heads)) if sum(widths[:each]) + _GAP * (each - 1) <= console.width))
    for row in cells:
        parts: list[str | tuple[str, str]] = []
        for (text, style, _), aligned, width in zip(row[:fitting], right, widths, strict=False):
            space = " " * (width - cell_len(text))
            parts += [space, (text, style)] if aligned else [(text, style), space]
            parts.append(" " * _GAP)
        console.print(Text.assemble(*parts[:-1]), soft_wrap=True)
        rest = [] if row is cells[0] else list(zip(heads, row, strict=True))[fitting:]
        named = [((f"{head} " if head else "", "dim"), (text, style)) for head, (text, style, _) in rest if text]
        if named:
            joined = [piece for pair in named for piece in (", ", *pair)]
            console.print(Text.assemble("  ", *joined[1:]), soft_wrap=True)


def line(*parts: Cell) -> None:
    """Print the parts on one line; on a terminal in their styles."""
    split = [_parts(part) for part in parts]
    if not on_terminal():
        say("".join(text for text, _, _ in split))
        return
    from rich.console import Console
    from rich.text import Text

    Console(highlight=False, soft_wrap=True).print(Text.assemble(*((text, style) for text, style, _ in split)))


def facts(pairs: Iterable[tuple[str, Cell]]) -> None:
    """Print one name and value a line; a pair without a value is left out."""
    kept = [(name, value) for name, value in pairs if value != ""]
    width = max((len(name) for name, _ in kept), default=0)
    for name, value in kept:
        line((name.ljust(width), "dim"), "  ", value)
