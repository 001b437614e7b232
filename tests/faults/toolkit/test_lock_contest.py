"""Competing clients, stopped, killed, with a store that loses its data: the fence grows, and no old write is accepted.

`tests/faults/proofs/locks.py` is the same with the numbers of the claim.
"""

from __future__ import annotations

from pathlib import Path

from tests.faults.toolkit.fenced_resource import Entry, judged
from tests.faults.toolkit.lock_contest import Contest, restarted_server, without_restart
from tests.support.servers.redis_server import RedisServer


async def test_on_a_server_that_forgets(tmp_path: Path) -> None:
    server = RedisServer()
    server.start()
    try:
        contest = Contest(tmp_path, restarted_server(server), processes=2, clients=4, every=0.3)
        verdict = await contest.run(200, rounds=4)
    finally:
        server.remove()
    assert verdict.sound, verdict
    assert verdict.judgement.taken >= 200


async def test_on_a_file(tmp_path: Path) -> None:
    verdict = await Contest(tmp_path, without_restart(tmp_path), processes=2, clients=4, every=0.3).run(100, rounds=4)
    assert verdict.sound, verdict
    assert verdict.judgement.taken >= 100


def test_the_judge_finds_what_is_wrong() -> None:
    take, write = ("take", True), ("write", True)

    def of(*calls: tuple[tuple[str, bool], int, int, int]) -> tuple[int, ...]:
        found = judged([Entry(op, token, told, accepted, value) for (op, accepted), token, told, value in calls])
        return found.repeated, found.backwards, found.stale, found.lost, found.overtaken

    assert of((take, 1, 0, 0), (write, 1, 0, 0), (take, 2, 0, 1), (write, 2, 1, 1)) == (0, 0, 0, 0, 0)
    assert of((take, 1, 0, 0), (take, 1, 0, 0)) == (1, 1, 0, 0, 1)
    assert of((take, 2, 0, 0), (take, 1, 0, 0)) == (0, 1, 0, 0, 1)
    assert of((take, 1, 0, 0), (take, 2, 0, 0), (write, 1, 0, 0)) == (0, 0, 1, 0, 1)
    assert of((take, 1, 0, 0), (take, 2, 0, 0), (write, 2, 0, 0), (write, 2, 0, 1)) == (0, 0, 0, 1, 1)
