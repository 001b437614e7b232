"""How settlements are put into the rows of one script call."""

from __future__ import annotations

from pathlib import Path

import pytest

from outlast.brokers.redis.delivery import RowBuilder
from outlast.brokers.redis.keyspace import Keyspace
from outlast.clients.redis.address import Address
from outlast.clients.redis.client import RedisClient
from outlast.core.message import Fence, Usage
from outlast.core.settlement import Finish, Release
from tests.support.jobs import failure, message, raw


@pytest.fixture
def builder(tmp_path: Path) -> RowBuilder:
    return RowBuilder(Keyspace(RedisClient(Address.of(f"redis+unix://{tmp_path}/none")), "n", None))


def done(id: str, token: int, **more: object) -> Finish:
    return Finish(Fence(id, id.partition(".")[0], token), "succeeded", **more)  # type: ignore[arg-type]


def test_adjacent_jobs_of_one_queue_and_one_hand_out_that_plainly_succeeded_share_a_row(builder: RowBuilder) -> None:
    ends = [done("q.1", 7), done("q.2", 7), done("q.3", 8), done("r.1", 8), done("r.2", 8), done("q.4", 8)]
    assert builder.rows(ends) == [
        [1, False, 7, "", "1", "2"],
        [1, False, 8, "", "3"],
        [2, False, 8, "", "1", "2"],
        [1, False, 8, "", "4"],
    ]


def test_a_row_tells_the_kind_of_its_jobs_and_the_kinds_where_they_differ(builder: RowBuilder) -> None:
    same = [done(f"q.{n}", 7, kind="send") for n in range(3)]
    assert builder.rows(same) == [[1, False, 7, "send", "0", "1", "2"]]
    assert builder.rows([*same, done("q.3", 7, kind="render"), done("q.4", 7)]) == [
        [1, False, 7, ["send", "send", "send", "render", ""], "0", "1", "2", "3", "4"]
    ]


@pytest.mark.parametrize(
    "other",
    [
        done("q.2", 7, result=raw(1), result_ttl=9),
        done("q.2", 7, error=failure()),
        done("q.2", 7, usage=Usage(cpu=1.0, wall=1.0)),
        done("q.2", 7, reason="why"),
        done("q.2", 7, then=[message("q.9", 0.0)]),
        Finish(Fence("q.2", "q", 7), "dead", "why"),
        Release(Fence("q.2", "q", 7)),
    ],
    ids=["result", "error", "usage", "reason", "follow-up", "death", "release"],
)
def test_any_other_has_a_row_of_its_own(builder: RowBuilder, other: Finish | Release) -> None:
    first, own, last = builder.rows([done("q.1", 7), other, done("q.3", 7)])
    assert (first, last) == ([1, False, 7, "", "1"], [1, False, 7, "", "3"])
    assert own[:3] == [1, "2", 7]
    assert len(own) > 3
