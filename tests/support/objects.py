"""Every place of objects, for the suites that hold each of them to the same words."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from outlast.core.clock import Clock
from outlast.toolkit.objects.link import ObjectLink
from tests.support.servers.s3_server import shared_s3
from tests.support.stores import namespace_of

__all__ = ["OBJECT_PLACES", "ObjectPlaceCase", "credentials", "link_at"]


@dataclass(frozen=True)
class ObjectPlaceCase:
    """One kind of place. url(folder): the same folder, the same objects."""

    name: str
    url: Callable[[Path], str]


OBJECT_PLACES: list[ObjectPlaceCase] = [
    ObjectPlaceCase("memory", lambda _: "memory:"),
    ObjectPlaceCase("folder", lambda folder: f"file:{folder / 'objects'}"),
    ObjectPlaceCase("s3", lambda folder: shared_s3().url(namespace_of(folder))),
]


def link_at(case: ObjectPlaceCase, folder: Path, clock: Clock, *, timeout: float = 30.0) -> ObjectLink:
    """Return a link to the place of a folder."""
    return ObjectLink(case.url(folder), clock=clock, timeout=timeout)


@contextmanager
def credentials(values: dict[str, str]) -> Iterator[None]:
    """Set variables of the environment within the block."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
