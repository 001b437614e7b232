"""An object store for large arguments that a test turns off, and the files of its folder."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from outlast import Outlast
from outlast.core.claims import CLAIMS
from outlast.core.clock import Clock
from outlast.core.errors import StoreUnavailable
from outlast.toolkit.objects.folder import ObjectFolder
from outlast.toolkit.objects.link import ObjectLink
from outlast.toolkit.objects.place import Listed, Source
from outlast.toolkit.objects.places import connect_objects
from tests.support.working import new_app

__all__ = ["SwitchedFolder", "age", "claims_app", "claims_in", "switched"]


class SwitchedFolder(ObjectFolder):
    """A folder that is away while `away` is set. calls: how many were refused."""

    away = False
    calls = 0

    def _check(self) -> None:
        if self.away:
            self.calls += 1
            raise StoreUnavailable(f"{self.shown}: it is turned off")

    async def _refuse(self, *_: object) -> None:
        self.calls += 1
        raise StoreUnavailable(f"{self.shown}: it takes nothing")

    async def put(self, key: str, source: Source, content_type: str) -> None:
        self._check()
        await super().put(key, source, content_type)

    async def get(self, key: str, most: int | None = None) -> bytes:
        self._check()
        return await super().get(key, most)

    async def delete(self, key: str) -> None:
        self._check()
        await super().delete(key)

    async def look(self, key: str) -> Listed | None:
        self._check()
        return await super().look(key)

    async def pages(self, prefix: str) -> AsyncIterator[list[Listed]]:
        self._check()
        async for page in super().pages(prefix):
            yield page


def claims_app(url: str, folder: Path, **settings: Any) -> Outlast:
    """Return an empty app whose arguments and results of more than 1,000 bytes go to a folder."""
    settings = {"objects_url": f"file:{folder}", "objects_over": 1000, "max_body": 5_000_000, **settings}
    return new_app(url, **settings)


def switched(app: Outlast) -> SwitchedFolder:
    """Return the folder of an app, which the test can turn off from now on."""
    claims = app.composer.claims
    place = SwitchedFolder(claims.url.removeprefix("file:"))

    def connect(url: str, clock: Clock, timeout: float) -> SwitchedFolder:
        connect_objects(url, clock, timeout)  # it is a URL
        return place

    claims._link = ObjectLink(claims.url, clock=app.composer.clock, timeout=30, connect=connect)
    return place


def claims_in(folder: Path) -> list[Path]:
    """Return the files of large arguments and results in a folder."""
    return sorted(each for each in (folder / CLAIMS).rglob("*") if each.is_file())


def age(folder: Path, seconds: float) -> None:
    """Make all files in a folder so much older."""
    for each in claims_in(folder):
        at = time.time() - seconds
        os.utime(each, (at, at))
