"""A place of objects that is away: calls end within their deadline, and it is used again when it is back."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from outlast import ObjectNotFound, ToolkitAway
from outlast.aio.clock import SystemClock
from outlast.core.errors import StoreUnavailable
from outlast.toolkit.objects.link import ObjectLink
from outlast.toolkit.objects.objects import Objects
from outlast.toolkit.objects.place import ObjectPlace
from tests.support.counts import Counted
from tests.support.objects import credentials
from tests.support.polling import until
from tests.support.servers.s3_server import S3Server
from tests.support.standstill import stand_still

LARGE = 32 * 1024 * 1024
"""More bytes than the buffers between server and reader hold."""


@pytest.fixture(scope="module")
def server() -> Iterator[S3Server]:
    """A server of these tests' own."""
    server = S3Server()
    server.start()
    with credentials(server.environment):
        yield server
    server.remove()


def link_to(url: str, timeout: float) -> ObjectLink:
    return ObjectLink(url, clock=SystemClock(), timeout=timeout)


async def works(objects: Objects) -> bool:
    try:
        await objects.put("a", b"x")
        return await objects.get("a") == b"x"
    except ToolkitAway:
        return False


async def test_a_server_that_hangs_costs_one_deadline_and_is_used_when_it_is_back(server: S3Server) -> None:
    link = link_to(server.url("hangs"), 1.0)
    objects = Objects(lambda: link)
    await until(lambda: works(objects), "the server answers")
    assert server.process is not None
    await stand_still(server.process.pid)
    try:
        made: list[str] = []

        async def counted(place: ObjectPlace) -> None:
            made.append(place.shown)
            await place.look("a")

        for _ in range(50):  # one after the other, as one request makes them
            with pytest.raises(ToolkitAway, match="s3://outlast-test/hangs is away"):
                await link.use("get", counted)
        assert len(made) <= 2, "a probe may follow, no call of each"
        assert link.is_away
    finally:
        os.kill(server.process.pid, signal.SIGCONT)
    await until(lambda: works(objects), "the server is used again")


async def test_credentials_that_are_refused_are_told_without_their_text(server: S3Server) -> None:
    with credentials({"AWS_SECRET_ACCESS_KEY": "not-the-secret"}):
        link = link_to(server.url("refused"), 5.0)
        with pytest.raises(ToolkitAway, match="s3://outlast-test/refused") as refused:
            await Objects(lambda: link).get("a")
    assert "not-the-secret" not in str(refused.value)


async def test_no_server_at_all(server: S3Server) -> None:
    link = link_to("s3://bucket/x?endpoint=http://127.0.0.1:9&region=us-east-1", 5.0)
    with pytest.raises(ToolkitAway, match="s3://bucket/x is away"):
        await Objects(lambda: link).put("a", b"x")


async def test_the_error_of_a_source_does_not_make_the_place_away(tmp_path: Path) -> None:
    link = link_to(f"file:{tmp_path}", 5.0)
    objects = Objects(lambda: link)

    async def broken() -> AsyncIterator[bytes]:
        yield b"x"
        raise ZeroDivisionError

    for _ in range(5):
        with pytest.raises(ZeroDivisionError):
            await objects.put("a", broken())
    assert not link.is_away
    assert await works(objects)


async def test_a_source_that_hangs_ends_with_the_deadline(tmp_path: Path) -> None:
    link = link_to(f"file:{tmp_path}", 0.2)

    async def hangs() -> AsyncIterator[bytes]:
        yield b"x"
        await asyncio.Event().wait()

    with pytest.raises(ToolkitAway, match=r"no answer within 0\.2 s \(objects_timeout\)"):
        await Objects(lambda: link).put("a", hangs())
    # A thread removes it: on a disk that hangs, the deadline must not wait for that.
    await until(lambda: not [each for each in tmp_path.rglob("*") if each.is_file()], "what was begun is removed")


async def test_a_refused_call_counts_as_away_for_a_second() -> None:
    calls: list[str] = []

    async def fails(place: ObjectPlace) -> None:
        calls.append(place.shown)
        raise StoreUnavailable("no")

    link = link_to("file:/nowhere", 5.0)
    for _ in range(3):
        with pytest.raises(ToolkitAway) as away:
            await link.use("get", fails)
        assert away.value.retry_after is not None
    assert len(calls) == 1


def test_a_fork_of_a_process_that_has_used_the_server_is_told_at_once(server: S3Server) -> None:
    run = subprocess.run(
        [sys.executable, "-c", FORKS, server.url("forks")], capture_output=True, text=True, check=False
    )
    assert run.stdout.splitlines() == ["fork before the first use", "True"], run.stderr


def test_a_process_that_ends_after_a_call_ends_well() -> None:
    """Without the wait at the exit one in eight is aborted."""
    url = "s3://bucket?endpoint=http://127.0.0.1:9&region=r"
    with credentials({"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}):
        codes = [subprocess.run([sys.executable, "-c", ENDS, url], check=False).returncode for _ in range(16)]
    assert codes == [0] * 16


ENDS = """
import asyncio, sys
from outlast.aio.clock import SystemClock
from outlast.core.errors import StoreUnavailable
from outlast.toolkit.objects.places import connect_objects

place = connect_objects(sys.argv[1], SystemClock(), 2.0)
try:
    asyncio.run(place.get("a"))
except StoreUnavailable:
    pass
"""


async def test_calls_are_counted_by_how_they_ended(server: S3Server) -> None:
    link = link_to(server.url("counted"), 1.0)
    objects = Objects(lambda: link)
    await until(lambda: works(objects), "the server answers")
    calls, degraded = Counted("outlast_object_calls_total"), Counted("outlast_toolkit_degraded_total")
    await objects.put("b", b"x")
    assert [part async for part in objects.stream("b")] == [b"x"]
    assert not await objects.exists("none")
    with pytest.raises(ObjectNotFound):
        await objects.get("none")
    await objects.delete("b")
    assert calls.added == {"put,ok": 1, "get,ok": 1, "exists,ok": 1, "get,failed": 1, "delete,ok": 1}
    assert degraded.added == {}
    assert server.process is not None
    await stand_still(server.process.pid)
    try:
        for _ in range(3):
            with pytest.raises(ToolkitAway):
                await objects.get("a")
        with pytest.raises(ToolkitAway):
            async for _ in objects.stream("a"):
                pass
    finally:
        os.kill(server.process.pid, signal.SIGCONT)
    assert calls.added["get,away"] == 4
    assert degraded.added == {"objects,raised": 4}
    await until(lambda: works(objects), "the server is used again")


async def test_a_server_that_is_killed_in_a_stream_ends_it(server: S3Server) -> None:
    """The last test of the server: it does not come back."""
    link = link_to(server.url("killed"), 20.0)
    objects = Objects(lambda: link)
    await until(lambda: works(objects), "the server answers")
    await objects.put("large", bytes(LARGE))
    got = 0
    with pytest.raises(ToolkitAway):
        async for part in objects.stream("large"):
            if not got:
                server.stop()
            got += len(part)
    assert 0 < got < LARGE


FORKS = """
import asyncio, os, sys
from outlast import ConfigurationError
from outlast.aio.clock import SystemClock
from outlast.toolkit.objects.link import ObjectLink
from outlast.toolkit.objects.objects import Objects

link = ObjectLink(sys.argv[1], clock=SystemClock(), timeout=30)
objects = Objects(lambda: link)
asyncio.run(objects.put("a", b"x"))
if os.fork() == 0:
    try:
        asyncio.run(objects.put("b", b"x"))
    except ConfigurationError as error:
        print("fork before the first use" if "fork before the first use" in str(error) else error, flush=True)
    os._exit(0)
os.wait()
print(asyncio.run(objects.exists("a")))
"""
