"""An app on each kind of store, and a project for the command line."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from outlast import Outlast
from tests.support.apps.cli_app import Seeded, seed
from tests.support.apps.isolated_app import build
from tests.support.command import Project
from tests.support.ledger import Ledger
from tests.support.working import new_app


@pytest.fixture(params=["memory", "sqlite"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a fresh store."""
    return "memory:" if request.param == "memory" else f"sqlite:{tmp_path}/jobs.db"


@pytest.fixture
async def app(url: str) -> AsyncIterator[Outlast]:
    """A fresh app, its store closed at the end."""
    app = new_app(url)
    yield app
    await app.close()


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A folder in which the command is run."""
    return Project(tmp_path)


@pytest.fixture
def seeded(project: Project) -> Seeded:
    """The ids of the jobs that its store holds, one of each sort."""
    return seed(project.url)


@pytest.fixture
def ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ledger:
    """The ledger that the handlers of a worker here, and of its children, write into."""
    monkeypatch.setenv("OUTLAST_TEST_LEDGER", str(tmp_path / "ledger"))
    return Ledger(tmp_path / "ledger")


@pytest.fixture
async def isolated(ledger: Ledger, tmp_path: Path) -> AsyncIterator[Outlast]:
    """An app whose handlers are found again by child processes; they write into the ledger."""
    app = build(f"sqlite:{tmp_path}/jobs.db")
    yield app
    await app.close()
