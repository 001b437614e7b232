"""Jobs whose stored content cannot be read: they stop nothing but themselves."""

from __future__ import annotations

import pytest
from msgspec import Raw, structs

from outlast.core.matching import ArgIs
from outlast.core.moving import Hold
from outlast.core.settlement import ACCEPTED
from outlast.core.store.control import Cancel, Edit, Purge, Redrive
from outlast.core.store.records import Query
from tests.support.jobs import Desk, raw

BODIES = {
    "an integer beyond the decoder's limit": b'{"n":' + b"1" * 5000 + b"}",
    "no object": b"[1,2]",
    "cut off": b'{"n":',
    "nested too deep": b'{"n":' + b"[" * 5000,
    "empty": b" ",
}


async def _three(desk: Desk, body: bytes) -> None:
    """Publish three jobs, the second with this body."""
    bad = structs.replace(desk.message("q.bad"), args=Raw(body))
    await desk.publish("q.1", args={"n": 1})
    assert await desk.store.publish([bad]) == [ACCEPTED]
    await desk.publish("q.2", args={"n": 1})


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
async def test_lists_and_counts_show_it_among_the_others(desk: Desk, body: bytes) -> None:
    await _three(desk, body)
    page = await desk.store.find(Query(queue="q"))
    assert [each.id for each in page.records] == ["q.2", "q.bad", "q.1"]
    bad = page.records[1]
    assert (bad.state, bad.args, [each.type for each in bad.failures]) == ("ready", {}, ["Unreadable"])
    assert await desk.store.get(["q.bad"]) == [bad]
    assert await desk.store.count(Query()) == {"ready": 3}
    assert [each.id for each in (await desk.store.find(Query(args=(ArgIs(("n",), (1,)),)))).records] == ["q.2", "q.1"]
    assert (await desk.stats()).ready == 3


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
async def test_it_is_handed_out_like_the_others_and_ends(desk: Desk, body: bytes) -> None:
    await _three(desk, body)
    assert await desk.ids() == ["q.1", "q.bad", "q.2"]
    await desk.finish("q.1", "q.bad", "q.2", state="dead")
    assert (await desk.do(Redrive("q.bad"))).ok
    assert await desk.state("q.bad") == "ready"


async def test_commands_on_it_are_done_or_refused(desk: Desk) -> None:
    await _three(desk, b'{"n":')
    assert (await desk.do(Edit("q.bad", change=raw({"n": 2})))).why == "unreadable"
    assert (await desk.do(Edit("q.bad", args=raw({"n": 2})))).ok
    assert (await desk.record("q.bad")).args == {"n": 2}
    assert (await desk.do(Cancel("q.bad"))).ok
    assert (await desk.do(Purge(id="q.bad"))).ok
    assert await desk.state("q.bad") == "unknown"


async def test_it_moves_as_it_is(desk: Desk) -> None:
    await _three(desk, b'{"n":')
    parcel = (await desk.do(Hold("q.bad", "test"))).parcel
    assert parcel is not None
    assert bytes(parcel.message.args) == b'{"n":'
