"""A collector, and a traced app on each kind of store."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from outlast import Outlast
from tests.support.apps import traced_app
from tests.support.collector import Collector, collector
from tests.support.tracing import traced_by


@pytest.fixture
def received() -> Iterator[Collector]:
    """A collector."""
    with collector() as found:
        yield found


@pytest.fixture
async def traced(url: str, received: Collector) -> AsyncIterator[Outlast]:
    """A fresh app whose spans it gets."""
    with traced_by(received):
        app = traced_app.build(url)
        yield app
        await app.close()
