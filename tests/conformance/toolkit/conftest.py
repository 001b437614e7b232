"""The fixtures of the toolkit's pieces: a toolkit on each store, with a clock that the test moves."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from outlast.aio.portal import portal
from outlast.testing.clock import FakeClock
from outlast.toolkit.access import Toolkit
from tests.conformance.needs import names_of
from tests.support.expiry import endless_rows
from tests.support.toolkit import PLACES, Place, toolkit_at

TAGS = frozenset(("tags", "tag", "invalidate", "invalidate_sync"))
"""Names in the code of a test that needs tags."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give each test the stores that can do what it asks for: `other_kit` needs one that two toolkits share."""
    if "place" in metafunc.fixturenames:
        places = [place for place in PLACES if place.shared or "other_kit" not in metafunc.fixturenames]
        if not _is_of_a_plain_cache(metafunc):
            places = [place for place in places if not place.caches_only]
        metafunc.parametrize("place", places, ids=[place.name for place in places])


def _is_of_a_plain_cache(metafunc: pytest.Metafunc) -> bool:
    """Return whether a test needs nothing but a cache, without tags."""
    path = Path(metafunc.module.__file__ or "")
    of_cache = path.parent.name == "cache" or path.name == "test_access.py"
    return of_cache and not TAGS & names_of(metafunc.function)


async def closed(toolkit: Toolkit) -> None:
    """Close it here, and on the portal's loop, where blocking code and renewals of locks use it."""
    await toolkit.close()
    await portal().visit(toolkit.close)


@pytest.fixture
async def kit(place: Place, clock: FakeClock, tmp_path: Path) -> AsyncIterator[Toolkit]:
    """A toolkit on a fresh store."""
    toolkit = toolkit_at(place, tmp_path, clock)
    yield toolkit
    await closed(toolkit)
    if place.name == "sqlite":
        assert await endless_rows(tmp_path / "toolkit.db") == []


@pytest.fixture
async def other_kit(place: Place, clock: FakeClock, tmp_path: Path) -> AsyncIterator[Toolkit]:
    """Another toolkit on the same store, as another process has it."""
    toolkit = toolkit_at(place, tmp_path, clock)
    yield toolkit
    await closed(toolkit)


@pytest.fixture
def kit_sync(place: Place, clock: FakeClock, tmp_path: Path) -> Iterator[Toolkit]:
    """A toolkit on a fresh store, for blocking code."""
    toolkit = toolkit_at(place, tmp_path, clock)
    yield toolkit
    portal().run(toolkit.close)
