"""The folder of objects: modes, links that lead out of it, what a crash leaves."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest

from outlast import ConfigurationError, InvalidArguments, ToolkitAway
from outlast.aio.clock import SystemClock
from outlast.core.toolkit_errors import ObjectNotFound
from outlast.toolkit.objects.folder import STALE, ObjectFolder
from outlast.toolkit.objects.link import ObjectLink
from outlast.toolkit.objects.objects import Objects
from outlast.toolkit.objects.places import connect_objects, objects_url
from tests.support.polling import until


@pytest.fixture
def objects(tmp_path: Path) -> Objects:
    link = ObjectLink(f"file:{tmp_path / 'objects'}", clock=SystemClock(), timeout=30)
    return Objects(lambda: link)


async def test_only_the_owner_reads_files_and_folders(objects: Objects, tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        await objects.put("a/b", b"x")
    finally:
        os.umask(before)
    found = [tmp_path / "objects", *(tmp_path / "objects").rglob("*")]
    assert len(found) == 5
    for path in found:
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path


async def test_links_do_not_lead_out_of_the_folder(objects: Objects, tmp_path: Path) -> None:
    await objects.put("a", b"x")
    (tmp_path / "secret").write_bytes(b"secret")
    (tmp_path / "objects" / "file").symlink_to(tmp_path / "secret")
    (tmp_path / "objects" / "folder").symlink_to(tmp_path)
    for key in ("file", "folder/secret"):
        with pytest.raises(InvalidArguments, match="leads out of it"):
            await objects.get(key)
        with pytest.raises(InvalidArguments, match="leads out of it"):
            await objects.put(key, b"y")
    with pytest.raises(InvalidArguments, match="leads out of it"):
        await objects.put("folder/new", b"y")
    assert (tmp_path / "secret").read_bytes() == b"secret"
    assert not (tmp_path / "new").exists()


async def test_a_key_that_needs_a_folder_where_a_file_is(objects: Objects) -> None:
    await objects.put("a", b"x")
    with pytest.raises(InvalidArguments, match="begins differently"):
        await objects.put("a/b", b"y")
    with pytest.raises(ObjectNotFound):
        await objects.get("a/b")
    assert not await objects.exists("a/b")
    await objects.put("c/d", b"x")
    with pytest.raises(InvalidArguments, match="begins differently"):
        await objects.put("c", b"y")
    assert await objects.get("a") == b"x"
    assert await objects.get("c/d") == b"x"


async def test_what_a_crash_has_left_is_removed_when_it_is_old(objects: Objects, tmp_path: Path) -> None:
    await objects.put("a", b"x")
    unfinished = tmp_path / "objects" / ".outlast" / "unfinished"
    for name, age in (("old", STALE + 60), ("new", 60)):
        (unfinished / name).write_bytes(b"half")
        os.utime(unfinished / name, (time.time() - age,) * 2)
    await ObjectFolder(str(tmp_path / "objects")).tidy()
    assert [each.name for each in unfinished.iterdir()] == ["new"]


async def test_a_folder_that_cannot_be_made_is_away(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    link = ObjectLink(f"file:{tmp_path / 'file'}", clock=SystemClock(), timeout=30)
    with pytest.raises((ToolkitAway, InvalidArguments)):
        await Objects(lambda: link).put("a", b"x")


@pytest.mark.parametrize(
    ("jobs", "objects"),
    [
        ("sqlite:outlast.db", "file:outlast-objects"),
        ("sqlite:/srv/a.b/jobs", "file:/srv/a.b/jobs-objects"),
        ("sqlite:///srv/shop.db", "file:///srv/shop-objects"),
        ("memory:", "memory:"),
        ("redis://host", ""),
        ("amqp://host", ""),
    ],
)
def test_the_place_follows_from_that_of_the_jobs(jobs: str, objects: str) -> None:
    assert objects_url("", jobs) == objects
    assert objects_url("s3://bucket", jobs) == "s3://bucket"


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("", "give 'file:PATH'"),
        ("file:", "name a folder"),
        ("file:a\0b", "name a folder"),
        ("file://host/x", "takes no host"),
        ("s3:bucket", "give 'file:PATH'"),
        ("s3:///x", "a bucket stands there"),
        ("s3://key:secret@bucket/x", "credentials come from the environment"),
        ("s3://bucket?access_key=secret", "is no option"),
        ("s3://bucket?path_style=yes", "path_style: give 1"),
        ("gs://bucket?region=x", "region is no option"),
        ("ftp://bucket", "give 'file:PATH'"),
    ],
)
def test_wrong_urls_are_refused_without_their_secrets(url: str, told: str) -> None:
    with pytest.raises(ConfigurationError, match=told) as refused:
        connect_objects(url, SystemClock(), 1.0)
    assert "objects_url=" in str(refused.value)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("url", ["gs://bucket/a/b", "s3://bucket/a/b?region=eu-west-1&path_style=0"])
def test_a_place_on_a_server_is_made_without_a_call(url: str) -> None:
    assert connect_objects(url, SystemClock(), 1.0).shown == url.partition("?")[0]


@pytest.mark.parametrize("way", ["stream", "put"])
async def test_a_call_that_hangs_in_a_disk_does_not_hold_the_event_loop(tmp_path: Path, way: str) -> None:
    """Closing a file waits for the call that is in it. A pipe is the disk: a call in it hangs until the test writes."""
    link = ObjectLink(f"file:{tmp_path}/objects", clock=SystemClock(), timeout=1)
    objects = Objects(lambda: link)
    await objects.put("a/b", b"x")
    pipe = tmp_path / "objects" / "pipe"
    os.mkfifo(pipe)
    end = os.open(pipe, os.O_RDWR)
    place = link.place
    assert isinstance(place, ObjectFolder)

    async def parts() -> AsyncIterator[bytes]:
        for _ in range(3):
            yield bytes(1024 * 1024)

    try:
        with pytest.MonkeyPatch.context() as patch, pytest.raises(ToolkitAway, match="within 1 s"):
            if way == "stream":
                async for _ in objects.stream("pipe"):
                    pass
            else:
                beside = tmp_path / "objects" / ".outlast" / "unfinished" / "pipe"
                pipe.rename(beside)
                patch.setattr(place, "_begin", lambda: (beside, beside.open("wb")))
                await objects.put("c", parts())
    finally:
        if way == "stream":
            os.write(end, b"x")
            os.close(end)
        else:
            await until(lambda: _drained(end, beside), "what was written beside is removed")
            os.close(end)


def _drained(end: int, beside: Path) -> bool:
    """Read what is in the pipe; return whether its file is gone."""
    os.set_blocking(end, False)
    with suppress(BlockingIOError):
        while os.read(end, 1024 * 1024):
            pass
    return not beside.exists()
