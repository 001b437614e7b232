"""Opens the store's file, and loads its SQL: named statements and numbered migrations."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Final

from outlast.brokers.sqlite.tuning import Tuning
from outlast.clients.sqlite.connection import SharedConnection, open_file
from outlast.clients.sqlite.file_identity import FileIdentity
from outlast.clients.sqlite.statements import load_migrations, load_statements

__all__ = ["APPLICATION_ID", "NOT_BEGUN", "OLDEST_CODE", "SCHEMA", "migrations", "open_store", "state_at", "statements"]

APPLICATION_ID: Final = 0x4F75744C  # "OutL"
SCHEMA: Final = 7
"""The schema number that this code writes."""
OLDEST_CODE: Final = "select oldest_code from store"
NOT_BEGUN: Final = "job.attempt = 1 and job.crashes = 0 and job.begun = 0"
"""The SQL of a job that has not begun, and may expire. Code of schema 1 writes only the first two columns."""


def open_store(
    path: str, tuning: Tuning, *, steps: Mapping[int, str] | None = None, identity: FileIdentity | None = None
) -> SharedConnection:
    """Open the store's file at `path`, created or migrated as needed; raise what `open_file` raises.

    steps: migrations to use in place of `migrations()`. identity: takes the file that was opened.
    """
    return open_file(
        path,
        application_id=APPLICATION_ID,
        migrations=migrations() if steps is None else steps,
        oldest_code=OLDEST_CODE,
        busy=tuning.busy,
        identity=identity,
    )


@cache
def statements() -> dict[str, str]:
    """Return every named statement of sql/statements.sql."""
    loaded = load_statements(__package__, "statements.sql")
    return {
        name: text.replace("@state", state_at("?3")).replace("@not_begun", NOT_BEGUN) for name, text in loaded.items()
    }


def state_at(now: float | str) -> str:
    """Return the SQL of a job's state at `now` (seconds, or a parameter's name).

    A due job is ready, and one that is too late to start is expired, even before a claim has updated its row.
    """
    return (
        f"case when job.state in (0, 2, 4) and {NOT_BEGUN} and job.expires_at <= {now} then 13 "
        f"when job.state in (2, 4) and job.at <= {now} then 0 else job.state end"
    )


@cache
def migrations() -> dict[int, str]:
    """Return the migrations by the schema number that each leads to, in order."""
    return load_migrations(__package__)
