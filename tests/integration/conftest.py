"""An app on each kind of store."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from outlast import Outlast
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
