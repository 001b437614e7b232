"""Output: a table where people look (rich), aligned text where programs read, or one JSON document."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from typing import Any, Final

from outlast.cli.text import clean

__all__ = ["Cell", "facts", "json", "note", "on_terminal", "say", "state", "table"]

Cell = str | int | tuple[str, str]
"""Text, a number (aligned right), or text with a style."""

_STATES: Final = {
    "running": "cyan",
    "succeeded": "green",
    "dead": "bold red",
    "cancelled": "yellow",
    "expired": "yellow",
    "parked": "magenta",
    "scheduled": "blue",
}


def on_terminal() -> bool:
    """Tell whether people read the output."""
    return sys.stdout.isatty()


def state(name: str) -> tuple[str, str]:
    """Return a state in its colour."""
    return name, _STATES.get(name, "")


def json(document: Any) -> None:
    """Print one JSON document; msgspec's structs are objects with their fields as keys."""
    import msgspec

    sys.stdout.write(msgspec.json.format(msgspec.json.encode(document), indent=2).decode() + "\n")


def say(text: str = "") -> None:
    """Print a line of the answer."""
    sys.stdout.write(text + "\n")


def note(text: str) -> None:
    """Print a line beside the answer: to stderr, so that a pipe gets the answer alone."""
    sys.stderr.write(text + "\n")


def table(heads: Sequence[str], rows: Iterable[Sequence[Cell]], *, empty: str) -> None:
    """Print rows under heads; `empty` (to stderr) when there are none. Where programs read, nothing is cut."""
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
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    drawn = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for column, head in enumerate(heads):
        numbers = all(row[column][2] for row in rows)
        # An id is there to be copied: it may take a second line but is never cut.
        whole = head in ("id", "")
        drawn.add_column(
            head,
            justify="right" if numbers else "left",
            no_wrap=not whole and head not in ("fix", "error", "value"),
            overflow="fold",
        )
    for row in rows:
        drawn.add_row(*(Text(text, style=style) for text, style, _ in row))
    Console(highlight=False).print(drawn)


def facts(pairs: Iterable[tuple[str, Cell]]) -> None:
    """Print names and values below each other; a pair without a value is left out."""
    kept = [(name, _parts(value)) for name, value in pairs if value != ""]
    width = max((len(name) for name, _ in kept), default=0)
    if not on_terminal():
        for name, (text, _, _) in kept:
            say(f"{name.ljust(width)}  {text}")
        return
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False, soft_wrap=True)
    for name, (text, style, _) in kept:
        console.print(Text.assemble((name.ljust(width), "dim"), "  ", (text, style)))
