"""The fixtures of objects: a place of each kind, a link to it and `shop.objects` on it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from outlast.testing.clock import FakeClock
from outlast.toolkit.objects.link import ObjectLink
from outlast.toolkit.objects.objects import Objects
from tests.support.objects import OBJECT_PLACES, ObjectPlaceCase, credentials, link_at
from tests.support.servers.s3_server import shared_s3


@pytest.fixture(params=OBJECT_PLACES, ids=[case.name for case in OBJECT_PLACES])
def where(request: pytest.FixtureRequest) -> Iterator[ObjectPlaceCase]:
    """A kind of place."""
    case: ObjectPlaceCase = request.param
    if case.name != "s3":
        yield case
        return
    with credentials(shared_s3().environment):
        yield case


@pytest.fixture
def link(where: ObjectPlaceCase, clock: FakeClock, tmp_path: Path) -> ObjectLink:
    """A link to a fresh place."""
    return link_at(where, tmp_path, clock)


@pytest.fixture
def objects(link: ObjectLink) -> Objects:
    """What `shop.objects` is."""
    return Objects(lambda: link)
