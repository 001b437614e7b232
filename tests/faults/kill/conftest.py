"""The scene of a test: see scene.py."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.faults.kill.scene import Scene


@pytest.fixture
async def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Scene]:
    scene = Scene(tmp_path)
    monkeypatch.setenv("OUTLAST_FAULTS_URL", scene.url)
    await scene.app.runtime()
    yield scene
    await scene.app.close()
    print(scene.told())
