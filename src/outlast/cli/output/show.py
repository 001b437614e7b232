"""Prints a table on a terminal (rich), aligned text into a pipe, or one JSON document."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Final

from outlast.core.text import clean, json_line, when

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
_EMPTY: Final = ("0", "1", "-", "")


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

    Control characters in its texts are escaped: a terminal must not obey them.
    """
    import msgspec

    sys.stdout.write(json_line(msgspec.json.format(msgspec.json.encode(document), indent=2).decode()) + "\n")


def say(text: str = "") -> None:
    """Print a line of the answer to stdout."""
    sys.stdout.write(text + "\n")


def note(text: str) -> None:
    """Print a remark to stderr, so that a pipe gets the answer only."""
    sys.stderr.write(text + "\n")


def table(heads: Sequence[str], rows: Iterable[Sequence[Cell]], *, empty: str, spare: Sequence[str] = ()) -> None:
    """Print rows under heads; `empty` (to stderr) if there are none. Off a terminal nothing is left out.

    spare: columns that a narrow terminal leaves out if all their values are 0, 1, "-" or "".
    """
    listed = [[_parts(cell) for cell in row] for row in rows]
    if not listed:
        note(empty)
    elif on_terminal():
        _rich_table(heads, listed, spare)
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


def _rich_table(heads: Sequence[str], rows: list[list[tuple[str, str, bool]]], spare: Sequence[str]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False)
    columns = list(zip(heads, *rows, strict=True))
    widths = [max(len(head), *(len(text) for text, _, _ in cells)) for head, *cells in columns]
    # Only the last column may wrap: the values before it must stay whole, to be copied.
    widths[-1] = min(widths[-1], _NARROWEST)
    kept = list(range(len(columns)))
    for head in spare:
        at = heads.index(head)
        if _total(widths, kept) > console.width and all(text in _EMPTY for text, _, _ in columns[at][1:]):
            kept.remove(at)
    drawn = Table(box=None, pad_edge=False, header_style="dim", padding=(0, _GAP, 0, 0))
    for at in kept:
        drawn.add_column(
            heads[at],
            justify="right" if all(number for _, _, number in columns[at][1:]) else "left",
            no_wrap=at < len(columns) - 1,
            overflow="fold",
            min_width=widths[at],
        )
    for row in rows:
        drawn.add_row(*(Text(row[at][0], style=row[at][1]) for at in kept))
    console.print(drawn, width=max(console.width, _total(widths, kept)), crop=False)


def _total(widths: Sequence[int], kept: Sequence[int]) -> int:
    return sum(widths[at] + _GAP for at in kept)


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
