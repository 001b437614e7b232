"""The store's SQL, read from the packaged .sql files: named statements and numbered migrations."""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files
from typing import Final

__all__ = ["SCHEMA", "migrations", "state_at", "statements"]

SCHEMA: Final = 1
"""The schema number that this code writes."""

_NAME: Final = re.compile(r"^-- name: (\w+) \(.*\)\n", re.MULTILINE)
_COMMENT: Final = re.compile(r"^\s*--.*\n", re.MULTILINE)


@cache
def statements() -> dict[str, str]:
    """Return every named statement of sql/statements.sql."""
    parts = _NAME.split(_read("statements.sql"))
    found = zip(parts[1::2], parts[2::2], strict=True)
    return {name: _COMMENT.sub("", text).strip().replace("@state", state_at("?3")) for name, text in found}


def state_at(now: float | str) -> str:
    """Return the SQL of a job's state as it is at `now` (seconds, or a parameter's name).

    What came due is ready before a claim has noticed, and what is too late to start has expired.
    """
    return (
        f"case when job.state in (0, 2, 4) and job.attempt = 1 and job.crashes = 0 and job.expires_at <= {now} then 13 "
        f"when job.state in (2, 4) and job.at <= {now} then 0 else job.state end"
    )


@cache
def migrations() -> dict[int, str]:
    """Return the migrations by the schema number that each leads to, in order."""
    names = sorted(entry.name for entry in files(__package__).joinpath("sql").iterdir() if entry.name[:4].isdigit())
    return {int(name[:4]): _read(name) for name in names}


def _read(name: str) -> str:
    return files(__package__).joinpath("sql", name).read_text(encoding="utf-8")
