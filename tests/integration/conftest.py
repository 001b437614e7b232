"""An app on each kind of store, and a project for the command line."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from outlast import Outlast
from tests.support.cli_app import Seeded, seed
from tests.support.command import Project
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
