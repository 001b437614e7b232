"""Ids: they carry their queue and grow with time."""

from __future__ import annotations

import uuid
from random import Random

import pytest

from outlast.core.errors import ConfigurationError, InvalidArguments
from outlast.core.ids import IdFactory, check_queue_name, job_id, queue_of


def test_an_id_is_its_queue_and_a_uuid7() -> None:
    id_ = IdFactory().new("mail", 1_700_000_000.123, Random(1).getrandbits(64))
    queue, _, rest = id_.partition(".")
    assert (queue, len(rest)) == ("mail", 32)
    parsed = uuid.UUID(rest)
    assert (parsed.version, parsed.variant) == (7, uuid.RFC_4122)
    assert parsed.int >> 80 == 1_700_000_000_123


def test_ids_grow_within_a_millisecond_past_the_counter_and_when_time_steps_back() -> None:
    factory, rng = IdFactory(), Random(2)
    times = [1_000.0] * 5000 + [999.0, 998.0, 1_001.0]
    made = [factory.new("q", now, rng.getrandbits(64)) for now in times]
    assert made == sorted(made)
    assert len(set(made)) == len(made)
    assert {uuid.UUID(each[2:]).version for each in made} == {7}


def test_chance_beyond_62_bits_does_no_harm() -> None:
    one = IdFactory().new("q", 1.0, (1 << 62) | 5)
    assert one == IdFactory().new("q", 1.0, 5)


@pytest.mark.parametrize("name", ["mail", "a", "A-b_9", "x" * 64])
def test_queue_names(name: str) -> None:
    assert check_queue_name(name) == name


@pytest.mark.parametrize("name", ["", "a.b", "x" * 65, "ä", "a b", "a\n"])
def test_queue_names_refused(name: str) -> None:
    with pytest.raises(ConfigurationError, match="queue name"):
        check_queue_name(name)


def test_a_clients_id_gets_its_queue_once() -> None:
    assert job_id("mail", "order-7") == "mail.order-7"
    assert job_id("mail", "mail.order-7") == "mail.order-7"
    assert job_id("mail", "other.order-7") == "mail.other.order-7"


@pytest.mark.parametrize("wrong", ["", "a b", "x" * 129, "new\nline", "ü"])
def test_a_clients_id_refused(wrong: str) -> None:
    with pytest.raises(InvalidArguments, match="id="):
        job_id("mail", wrong)


def test_an_id_tells_its_queue() -> None:
    assert queue_of("mail.a.b.c") == "mail"


@pytest.mark.parametrize("wrong", ["", "mail", "mail.", ".x", "a b.x", "q.a b", "q.\ud800", "q." + "x" * 129])
def test_an_id_without_a_queue(wrong: str) -> None:
    with pytest.raises(InvalidArguments, match=r"of the form 'queue\.rest'"):
        queue_of(wrong)


def test_an_id_that_is_no_text() -> None:
    with pytest.raises(InvalidArguments, match="job id 7"):
        queue_of(7)  # type: ignore[arg-type]
