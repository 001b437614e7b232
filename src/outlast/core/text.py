"""Format values for people: ages, sizes, times, and foreign text without control characters."""

from __future__ import annotations

import json
import re
from typing import Final

__all__ = [
    "ascii_json",
    "clean",
    "counted",
    "duration",
    "indented",
    "is_utf8",
    "json_line",
    "line",
    "short",
    "shown",
    "size",
    "when",
]

# Also the marks of writing direction, the separators at which str.splitlines splits, and halves of surrogate pairs.
_CONTROL: Final = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufeff]"
)
_BEYOND_ASCII: Final = re.compile(r"[^\x00-\x7f]+")
_STEPS: Final = ((86400.0, "d"), (3600.0, "h"), (60.0, "min"))


def counted(number: int, noun: str) -> str:
    """Return "1 job", "2 jobs"; "1 process", "2 processes"."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}{'es' if noun.endswith('s') else 's'}"


def is_utf8(text: str) -> bool:
    """Return whether UTF-8 can hold the text: it has no half of a surrogate pair."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def clean(text: str) -> str:
    """Return `text` with control characters escaped: text of a job must not control the terminal."""
    return _CONTROL.sub(lambda found: ascii(found[0])[1:-1], text.replace("\r\n", "\n"))


def line(text: str) -> str:
    """Return `text` on one line, with control characters and line breaks escaped: it cannot forge a line of a log."""
    return clean(text).replace("\n", "\\n")


def indented(text: str) -> str:
    """Return the text of a log record, cleaned, with each line after the first one indented: a record has one start."""
    return clean(text).rstrip("\n").replace("\n", "\n  ")


def json_line(text: str) -> str:
    """Return JSON with control characters in its texts escaped as JSON escapes them; it decodes to the same values."""
    return _CONTROL.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def ascii_json(text: str) -> str:
    """Return JSON in ASCII, with all other characters escaped as JSON escapes them; it decodes to the same values."""
    return _BEYOND_ASCII.sub(lambda found: json.dumps(found[0])[1:-1], text)


def short(text: str, most: int = 60) -> str:
    """Return the first line, cut to `most` characters."""
    line = clean(text).strip().partition("\n")[0]
    return line if len(line) <= most else line[: most - 3].rstrip() + "..."


def shown(value: object, most: int = 80) -> str:
    """Return `repr(value)` in one line, cut to `most` characters; only its type if that raises (a number too long)."""
    try:
        return short(repr(value), most)
    except Exception:
        return f"<{type(value).__name__}>"


def duration(seconds: float) -> str:
    """Return a duration in its largest unit: 0.4 s, 12 s, 3 min, 5 h, 2 d."""
    for unit, name in _STEPS:
        if seconds >= unit:
            return f"{seconds / unit:.0f} {name}"
    return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"


def when(at: float | None, now: float) -> str:
    """Return a wall time relative to `now`: "12 s ago", "in 5 min"."""
    if at is None:
        return ""
    return f"{duration(now - at)} ago" if at <= now else f"in {duration(at - now)}"


def size(number: float) -> str:
    """Return a number of bytes in its largest unit."""
    for unit in ("B", "KiB", "MiB"):
        if number < 1024:
            return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"
        number /= 1024
    return f"{number:.1f} GiB"
