"""The router gives each event to the queues to which RabbitMQ gives it: a tenth of the proof `routing`."""

from __future__ import annotations

import pytest

from outlast.core.exchanges.values import ExchangeType
from tests.faults.proofs.routing import compare
from tests.support.servers.rabbitmq_server import shared_rabbit


@pytest.mark.parametrize(("type_", "cases"), [("topic", 500), ("headers", 500), ("direct", 100), ("fanout", 40)])
def test_random_events_reach_the_same_queues(type_: ExchangeType, cases: int) -> None:
    verdict = compare(shared_rabbit(), type_, cases=cases, seed=2)
    assert verdict.differences == []
    assert verdict.events == cases
    assert verdict.copies > cases / 2, "enough of them match for a difference to be seen"
