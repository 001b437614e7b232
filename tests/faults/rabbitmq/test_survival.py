"""Workers and the server are killed again and again under load: no job is lost, and no worker falls silent."""

from __future__ import annotations

from tests.faults.proofs.transport import survive
from tests.faults.rabbitmq.again import AGAIN, Restart, Restarts
from tests.faults.rabbitmq.transport_scene import RabbitScene, fragile, node

__all__ = ["fragile", "node"]


def test_the_claim_about_restarts_needs_one() -> None:
    assert not Restarts().in_time
    assert Restarts([Restart(0.5, AGAIN)]).in_time
    assert not Restarts([Restart(0.5, AGAIN), Restart(0.5, AGAIN + 0.1)]).in_time


async def test_no_job_is_lost_and_only_what_ran_at_a_kill_runs_again(fragile: RabbitScene) -> None:
    verdict = await survive(fragile, kills=10)
    print(verdict)  # in full: python -m tests.faults.proofs.transport
    assert verdict.holds, f"{verdict} {verdict.lost[:5]} {verdict.strange[:5]}"
    assert len(verdict.again.seen) == 1
