"""Loading SQL from the files of a package."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from outlast.clients.sqlite.statements import load_migrations, load_statements

STATEMENTS = """-- What there is.
-- name: entry (name)
select name from entry
-- A comment inside.
where name = ?1

-- name: entries ()
select name from entry
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A package with SQL in it."""
    folder = tmp_path / "some_package_of_sql"
    (folder / "sql").mkdir(parents=True)
    (folder / "__init__.py").touch()
    (folder / "sql" / "statements.sql").write_text(STATEMENTS)
    (folder / "sql" / "0002_shade.sql").write_text("alter table entry add column shade")
    (folder / "sql" / "0001_entry.sql").write_text("create table entry(name)")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, folder.name, raising=False)
    return folder.name


def test_statements_come_by_name_without_comments(package: str) -> None:
    assert load_statements(package, "statements.sql") == {
        "entry": "select name from entry\nwhere name = ?1",
        "entries": "select name from entry",
    }


def test_migrations_come_in_the_order_of_their_numbers(package: str) -> None:
    assert list(load_migrations(package).items()) == [
        (1, "create table entry(name)"),
        (2, "alter table entry add column shade"),
    ]
