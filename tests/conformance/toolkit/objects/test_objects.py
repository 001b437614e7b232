"""What `shop.objects` promises, on each place."""

from __future__ import annotations

import asyncio
import hashlib
import io
import urllib.request
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from outlast import ConfigurationError, InvalidArguments, ObjectDamaged, ObjectNotFound
from outlast.toolkit.objects.keys import object_key
from outlast.toolkit.objects.link import ObjectLink
from outlast.toolkit.objects.objects import Objects
from outlast.toolkit.objects.place import StoredObject
from tests.support.objects import ObjectPlaceCase

LARGE = bytes(range(256)) * 4096 * 7
"""7 MiB: more than one part of an upload."""


def stored(key: str, data: bytes) -> StoredObject:
    return StoredObject(key, len(data), hashlib.sha256(data).hexdigest())


async def read(objects: Objects, key: str) -> bytes:
    return b"".join([part async for part in objects.stream(key)])


@pytest.mark.parametrize("data", [b"", b"x", LARGE], ids=["empty", "small", "large"])
async def test_what_was_put_is_got_and_streamed(objects: Objects, data: bytes) -> None:
    put = await objects.put("invoices/7.pdf", data, content_type="application/pdf")
    assert put == stored("invoices/7.pdf", data)
    assert await objects.get("invoices/7.pdf", sha256=put.sha256) == data
    assert await read(objects, "invoices/7.pdf") == data
    assert await objects.exists("invoices/7.pdf")


async def test_a_put_takes_paths_files_and_iterators(objects: Objects, tmp_path: Path) -> None:
    path = tmp_path / "source"
    path.write_bytes(LARGE)

    async def parts() -> AsyncIterator[bytes]:
        for start in range(0, len(LARGE), 1_000_000):
            yield LARGE[start : start + 1_000_000]
            yield b""

    assert await objects.put("a", path) == stored("a", LARGE)
    assert await objects.put("b", io.BytesIO(LARGE)) == stored("b", LARGE)
    assert await objects.put("c", parts()) == stored("c", LARGE)
    assert await objects.put("d", bytearray(b"xy")) == stored("d", b"xy")
    for key in "abc":
        assert await objects.get(key) == LARGE


async def test_an_iterator_without_parts_is_an_empty_object(objects: Objects) -> None:
    async def nothing() -> AsyncIterator[bytes]:
        if LARGE == b"":
            yield b""

    assert await objects.put("a", nothing()) == stored("a", b"")
    assert await objects.get("a") == b""


async def test_a_put_that_ends_in_the_middle_changes_nothing(objects: Objects) -> None:
    await objects.put("a", b"old")

    async def broken() -> AsyncIterator[bytes]:
        yield LARGE
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await objects.put("a", broken())
    with pytest.raises(ZeroDivisionError):
        await objects.put("b", broken())
    assert await objects.get("a") == b"old"
    assert not await objects.exists("b")


async def test_a_put_replaces(objects: Objects) -> None:
    await objects.put("a", LARGE)
    await objects.put("a", b"new")
    assert await objects.get("a") == b"new"


async def test_what_is_not_there(objects: Objects) -> None:
    assert not await objects.exists("a/b")
    with pytest.raises(ObjectNotFound, match="'a/b'"):
        await objects.get("a/b")
    with pytest.raises(ObjectNotFound, match="'a/b'"):
        await read(objects, "a/b")
    await objects.delete("a/b")
    await objects.put("a/b", b"x")
    await objects.delete("a/b")
    assert not await objects.exists("a/b")


async def test_another_digest_is_told(objects: Objects) -> None:
    await objects.put("a", b"x")
    with pytest.raises(ObjectDamaged, match="SHA-256"):
        await objects.get("a", sha256=hashlib.sha256(b"y").hexdigest())


async def test_puts_and_deletes_at_once_leave_whole_objects(objects: Objects) -> None:
    """A folder that a delete has just removed is made again by a put."""

    async def put(number: int) -> None:
        await objects.put(f"one/folder/{number % 2}", str(number).encode() * 1000)

    async def delete(number: int) -> None:
        await objects.delete(f"one/folder/{number % 2}")

    await asyncio.gather(*(each(number) for number in range(40) for each in (put, delete)))
    for number in range(2):
        if await objects.exists(f"one/folder/{number}"):
            data = await objects.get(f"one/folder/{number}")
            assert data[: len(data) // 1000] * 1000 == data


async def test_links(objects: Objects, where: ObjectPlaceCase) -> None:
    await objects.put("a b/ü.txt", b"x" * 10, content_type="text/plain")
    for wrong in ("8d", 0, -1):
        with pytest.raises(ConfigurationError):
            await objects.url("a b/ü.txt", expires_in=wrong)
    if where.name != "s3":
        with pytest.raises(ConfigurationError, match="makes no links"):
            await objects.url("a b/ü.txt")
        return
    link = await objects.url("a b/ü.txt", expires_in="1m")

    def fetch() -> tuple[bytes, str | None]:
        with urllib.request.urlopen(link) as answer:
            return answer.read(), answer.headers["Content-Type"]

    assert await asyncio.to_thread(fetch) == (b"x" * 10, "text/plain")


def test_from_blocking_code(objects: Objects, where: ObjectPlaceCase) -> None:
    put = objects.put_sync("a", b"x")
    assert put.size == 1
    assert objects.get_sync("a", sha256=put.sha256) == b"x"
    assert objects.exists_sync("a")
    objects.delete_sync("a")
    assert not objects.exists_sync("a")
    if where.name == "s3":
        assert "X-Amz-Expires=60" in objects.url_sync("a", expires_in=60)


@pytest.mark.parametrize(
    "key",
    [
        *("", "/", "a/", "/a", "a//b", ".", "..", "../a", "a/../b", "a/./b", "a\\b", "a\0b", "a\nb", "\ud800"),
        *("x" * 201, "/".join(["x" * 100] * 8), ".outlast/claims/x", ".Outlast/x", 7, None, b"a"),
    ],
)
async def test_keys_that_not_every_place_can_hold_are_refused(objects: Objects, key: str) -> None:
    with pytest.raises(InvalidArguments, match="object key"):
        await objects.put(key, b"x")
    with pytest.raises(InvalidArguments, match="object key"):
        await objects.get(key)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(keys=st.sets(st.text(min_size=1, max_size=30), min_size=1, max_size=4))
def test_each_key_that_is_taken_has_its_own_object(objects: Objects, keys: set[str]) -> None:
    taken: dict[str, bytes] = {}
    for key in keys:
        try:
            object_key(key)
            objects.put_sync(key, key.encode())
        except InvalidArguments:
            continue
        taken[key] = key.encode()
    for key, data in taken.items():
        assert objects.get_sync(key) == data
        objects.delete_sync(key)


@pytest.mark.parametrize("data", ["text", 7, None, [b"x"]])
async def test_what_is_no_data_is_refused(objects: Objects, data: object) -> None:
    with pytest.raises(InvalidArguments, match="give bytes"):
        await objects.put("a", data)  # type: ignore[arg-type]


async def test_parts_that_are_no_bytes_are_refused(objects: Objects) -> None:
    async def parts() -> AsyncIterator[bytes]:
        yield b"x"
        yield "y"  # type: ignore[misc]

    with pytest.raises(InvalidArguments, match="give bytes"):
        await objects.put("a", parts())
    assert not await objects.exists("a")


async def test_pages_tell_all_objects_below_a_prefix(link: ObjectLink) -> None:
    keys = [f"p/{number % 7}/{number}" for number in range(40)]
    for key in [*keys, "pp/1", "q"]:
        await link.use("put", lambda place, key=key: place.put(key, b"x", ""))  # type: ignore[misc]
    found = [each async for page in link.parts(lambda place: place.pages("p/")) for each in page]
    assert sorted(each.key for each in found) == sorted(keys)
    looked = await link.use("exists", lambda place: place.look("p/0/0"))
    assert looked in found
