"""Objects take their documented side in each way in which their place goes away, and are whole again."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from inspect import isawaitable
from pathlib import Path
from time import monotonic
from typing import Final

import pytest

from outlast import Outlast, Settings
from outlast.core.toolkit_errors import ToolkitAway
from tests.support.disk import fill, mounted, read_only
from tests.support.objects import credentials
from tests.support.polling import until
from tests.support.servers.s3_server import S3Server
from tests.support.standstill import stand_still

PAGE: Final = Path(__file__).parents[3] / "docs" / "toolkit.md"
TIMEOUT: Final = 1.5
LARGE: Final = "x" * 100_000


@dataclass(frozen=True)
class Place:
    """A place of objects. begin, end: of its outage."""

    url: str
    begin: Callable[[], object]
    end: Callable[[], object]


@dataclass(frozen=True)
class Way:
    """A way to go away. name, waits: the columns of its line on the page. reads: whether reads need what is away."""

    name: str
    make: Callable[[Path], AbstractContextManager[Place]]
    waits: bool = False
    reads: bool = True


def _pid(server: S3Server) -> int:
    assert server.process is not None
    return server.process.pid


def _s3(
    begin: Callable[[S3Server], object], end: Callable[[S3Server], object]
) -> Callable[[Path], AbstractContextManager[Place]]:
    @contextmanager
    def make(folder: Path) -> Iterator[Place]:
        server = S3Server()
        server.start()
        try:
            with credentials(server.environment):
                yield Place(server.url("sides"), partial(begin, server), partial(end, server))
        finally:
            server.remove()

    return make


def _folder(
    begin: Callable[[Path, ExitStack], object], end: Callable[[Path, ExitStack], object]
) -> Callable[[Path], AbstractContextManager[Place]]:
    @contextmanager
    def make(folder: Path) -> Iterator[Place]:
        with mounted(folder / "there", "8m") as there, ExitStack() as outage:
            yield Place(f"file:{there / 'objects'}", partial(begin, there, outage), partial(end, there, outage))

    return make


WAYS: Final = (
    Way("the S3 server is killed", _s3(S3Server.stop, S3Server.start)),
    Way(
        "the S3 server hangs (SIGSTOP)",
        _s3(lambda server: stand_still(_pid(server)), lambda server: os.kill(_pid(server), signal.SIGCONT)),
        waits=True,
    ),
    Way(
        "the folder cannot be written",
        _folder(lambda folder, outage: outage.enter_context(read_only(folder)), lambda folder, outage: outage.close()),
        reads=False,
    ),
    Way(
        "the disk of the folder is full",
        _folder(lambda folder, outage: fill(folder), lambda folder, outage: (folder / "filler").unlink()),
        reads=False,
    ),
)


class Used:
    """An app with objects and jobs with large arguments."""

    def __init__(self, url: str) -> None:
        self.shop = Outlast(
            "shop", settings=Settings(url="memory:", objects_url=url, objects_timeout=TIMEOUT, objects_over=10_000)
        )

        @self.shop.job
        async def read(text: str) -> None:
            """Take a text."""

        self.job = read

    async def put(self) -> None:
        await self.shop.objects.put("new", b"2" * 5000)

    async def enqueue(self) -> None:
        await self.job.enqueue(LARGE)

    async def get(self) -> None:
        assert await self.shop.objects.get("kept") == b"1"

    async def is_begun(self) -> bool:
        try:
            await self.shop.objects.put("kept", b"1")
        except ToolkitAway:
            return False
        return await self.is_whole()

    async def is_whole(self) -> bool:
        try:
            await self.put()
            await self.enqueue()
            await self.get()
        except ToolkitAway:
            return False
        return True


@pytest.mark.parametrize("way", WAYS, ids=[way.name.replace(" ", "-") for way in WAYS])
async def test_objects_take_their_side_and_are_whole_when_the_place_is_back(way: Way, tmp_path: Path) -> None:
    with way.make(tmp_path) as place:
        used = Used(place.url)
        await until(used.is_begun, "it is used")
        if isawaitable(begun := place.begin()):
            await begun
        try:
            began = monotonic()
            for call in (used.put, used.enqueue, *([used.get] if way.reads else [])):
                with pytest.raises(ToolkitAway):
                    await call()
            taken = monotonic() - began
        finally:
            place.end()
        began = monotonic()
        await until(used.is_whole, "it is whole again")
        print(f"\n{way.name}: its side after {taken:.2f} s, whole again after {monotonic() - began:.2f} s")
        await used.shop.close()


def test_the_page_has_the_ways() -> None:
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    made = [f"| {each.name} | {'`objects_timeout`' if each.waits else 'no wait'} |" for each in WAYS]
    at = lines.index(made[0])
    assert lines[at : at + len(made)] == made
    assert not lines[at + len(made)], "the table ends there"
