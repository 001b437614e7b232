"""Opens the store's file, and loads its SQL: named statements and numbered migrations."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Final

import apsw

from outlast.brokers.sqlite.tuning import Tuning
from outlast.clients.sqlite.connection import open_file
from outlast.clients.sqlite.statements import load_migrations, load_statements

__all__ = ["APPLICATION_ID", "SCHEMA", "migrations", "open_store", "state_at", "statements"]

APPLICATION_ID: Final = 0x4F75744C  # "OutL"
SCHEMA: Final = 2
"""The schema number that this code writes."""


def open_store(path: str, tuning: Tuning, *, steps: Mapping[int, str] | None = None) -> apsw.Connection:
    """Open the store's file at `path`, created or migrated as needed; raise what `open_file` raises.

    steps: migrations to use in place of `migrations()`.
    """
    return open_file(
        path,
        application_id=APPLICATION_ID,
        migrations=migrations() if steps is None else steps,
        oldest_code="select oldest_code from store",
        busy=tuning.busy,
    )


@cache
def statements() -> dict[str, str]:
    """Return every named statement of sql/statements.sql."""
    loaded = load_statements(__package__, "statements.sql")
    return {name: text.replace("@state", state_at("?3")) for name, text in loaded.items()}


def state_at(now: float | str) -> str:
    """Return the SQL of a job's state at `now` (seconds, or a parameter's name).

    A due job is ready, and one that is too late to start is expired, even before a claim has updated its row.
    """
    return (
        f"case when job.state in (0, 2, 4) and job.attempt = 1 and job.crashes = 0 and job.expires_at <= {now} then 13 "
        f"when job.state in (2, 4) and job.at <= {now} then 0 else job.state end"
    )


@cache
def migrations() -> dict[int, str]:
    """Return the migrations by the schema number that each leads to, in order."""
    return load_migrations(__package__)
