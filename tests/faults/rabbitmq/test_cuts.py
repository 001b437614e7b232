"""Cuts under load: what was confirmed has come, and nothing is left of the connections that ended."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.faults.proofs.amqp_cuts import CutOrders, Cuts, Kept, cut
from tests.support.servers.rabbitmq_server import RabbitServer


async def test_cuts_under_load_lose_and_leave_nothing(rabbit: RabbitServer, vhost: str) -> None:
    found = await cut(rabbit, vhost, CutOrders(cuts=10, warm=3, between=1000))
    assert found.faults == []
    assert found.made > 10
    assert found.outcomes["confirmed"] > found.outcomes["unknown"] > 0


BEFORE = Kept(
    connections=2,
    handshakes=2,
    channels=3,
    futures=9,
    objects=100,
    descriptors=12,
    blocks=100_000,
    memory=50_000_000,
    connections_there=2,
    channels_there=3,
)


@pytest.mark.parametrize("what", vars(BEFORE))
def test_what_there_is_more_of_after_the_cuts_is_a_fault(what: str) -> None:
    after = replace(BEFORE, **{what: getattr(BEFORE, what) * 2})
    assert Cuts(CutOrders(), kept=[BEFORE, BEFORE]).faults == []
    (fault,) = Cuts(CutOrders(), kept=[BEFORE, after]).faults
    assert fault.startswith(what)
