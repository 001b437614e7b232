"""Cuts under load: what was confirmed has come, and nothing is left of the connections that ended."""

from __future__ import annotations

from tests.faults.proofs.amqp_cuts import cut
from tests.support.servers.rabbitmq_server import RabbitServer


async def test_cuts_under_load_lose_and_leave_nothing(rabbit: RabbitServer, vhost: str) -> None:
    found = await cut(rabbit, vhost, 10)
    assert found.lost == 0
    assert found.made > 10
    assert found.outcomes["confirmed"] > found.outcomes["unknown"] > 0
    before, after = found.kept
    assert all(after[what] <= number for what, number in before.items()), found.kept
