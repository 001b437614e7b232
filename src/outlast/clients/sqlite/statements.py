"""Loads SQL from the .sql files of a package: named statements and numbered migrations."""

from __future__ import annotations

import re
from importlib.resources import files
from typing import Final

__all__ = ["load_migrations", "load_statements"]

_NAME: Final = re.compile(r"^-- name: (\w+) \(.*\)\n", re.MULTILINE)
_COMMENT: Final = re.compile(r"^\s*--.*\n", re.MULTILINE)


def load_statements(package: str, name: str) -> dict[str, str]:
    """Return every statement of the file `name` in the package's folder sql/, by its name and without comments.

    A statement begins with a line "-- name: NAME (its parameters)".
    """
    parts = _NAME.split(files(package).joinpath("sql", name).read_text(encoding="utf-8"))
    return {name: _COMMENT.sub("", text).strip() for name, text in zip(parts[1::2], parts[2::2], strict=True)}


def load_migrations(package: str) -> dict[int, str]:
    """Return the package's migrations, sql/NNNN_*.sql, by the schema number that each leads to, in order."""
    found = sorted(files(package).joinpath("sql").iterdir(), key=lambda entry: entry.name)
    return {int(entry.name[:4]): entry.read_text(encoding="utf-8") for entry in found if entry.name[:4].isdigit()}
