"""How a job lies on Redis: what is packed comes back as it was."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outlast.brokers.redis.codec import PRIORITIES, pack, unpack
from outlast.brokers.redis.keyspace import limits_of, script
from outlast.core.message import Message
from outlast.core.policy import DEFAULTS
from outlast.core.topology import Queue
from outlast.core.unique import Unique
from tests.support.jobs import raw

LUA = Path(__file__).parents[4] / "src" / "outlast" / "brokers" / "redis" / "lua"
HEADER = bytes(10)
"""What the server adds in front."""

texts = st.text(st.characters(codec="utf-8"), min_size=1, max_size=40)
times = st.floats(0, 253_402_300_799)
uniques = st.builds(
    Unique, texts, st.sampled_from(["start", "finish"]), st.none() | st.floats(0.001, 1e10), st.booleans()
)
messages = st.builds(
    Message,
    id=st.just("mail.1"),
    queue=st.just("mail"),
    kind=st.sampled_from(["send", "send@2", "k" * 128]),
    args=st.dictionaries(texts, st.integers() | texts).map(raw),
    enqueued_at=times,
    run_at=times,
    priority=st.sampled_from(PRIORITIES),
    key=st.none() | texts,
    unique=st.none() | uniques,
    expires_at=st.none() | times,
    headers=st.none() | st.dictionaries(texts, texts, max_size=3),
    redacted=st.lists(texts, max_size=3).map(tuple),
)


@given(messages)
def test_a_message_comes_back_as_it_was(message: Message) -> None:
    assert unpack("mail", "mail.1", HEADER + pack(message)) == message


def test_a_plain_job_is_its_arguments_and_little_more() -> None:
    args = raw({"user_id": 12345, "email": "a@b.c"})
    message = Message(id="mail.1", queue="mail", kind="send", args=args, enqueued_at=1.0, run_at=1.0)
    assert len(pack(message)) == 23 + len("send") + len(args)


def test_limits_tell_queues_apart_by_what_holds_and_not_by_their_names() -> None:
    assert limits_of(Queue(name="a")) == limits_of(Queue(name="b", objective=5))
    assert limits_of(Queue(name="a", rate="2/8s")) != limits_of(Queue(name="a", rate="1/4s"))
    assert limits_of(Queue(name="a", weights={"x": 1, "y": 2})) == limits_of(Queue(name="a", weights={"y": 2, "x": 1}))


def test_a_plain_publish_sees_at_a_glance_whether_a_queue_has_a_bound() -> None:
    free, glance = b"\xc2" * 3, slice(3, 6)  # lua/publish_plain.lua looks at these bytes
    assert limits_of(Queue(name="a", concurrency=1, rate="2/8s"))[glance] == free
    for bound in ({"max_depth": 1}, {"max_bytes": 1}, {"max_age": 1.0}):
        assert limits_of(Queue(name="a", **bound))[glance] != free


def test_a_script_is_known_by_its_text() -> None:
    one, other = script("clock", "base", "look"), script("clock", "base", "watch")
    assert one is script("clock", "base", "look")
    assert one.sha != other.sha
    assert len(one.sha) == 40


@pytest.mark.parametrize("path", sorted(LUA.glob("*.lua")), ids=lambda path: path.name)
def test_each_script_opens_with_its_contract(path: Path) -> None:
    lines = path.read_text().splitlines()
    assert lines[0].startswith("-- ")
    assert len(lines[0]) > 20
    assert len(lines) <= 400


def test_lua_and_the_core_have_the_same_head_start() -> None:
    assert f"(1 - prio) * {DEFAULTS.head_start:.0f}" in (LUA / "clock.lua").read_text()
    assert f"local FAILURES = {DEFAULTS.failures_kept}\n" in (LUA / "settle.lua").read_text()
