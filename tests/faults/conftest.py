"""For every fault: a long time to accept jobs, and a Redis of the test's own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.servers.redis_fleet import Node, node


@pytest.fixture(autouse=True)
def patient_publishers(monkeypatch: pytest.MonkeyPatch) -> None:
    """A loaded host may write for longer than the default, and EnqueueUnknown is then right: no verdict by timing."""
    monkeypatch.setenv("OUTLAST_ENQUEUE_TIMEOUT", "60")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Node]:
    """One that keeps what it has answered, to be killed and started again."""
    with node(tmp_path / "redis", appendonly="yes", appendfsync="always") as made:
        yield made
