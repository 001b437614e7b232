"""64 clients compete for one lock, under stops, kills and restarts: `python -m tests.faults.proofs.locks redis`.

8 processes with 8 clients each, half of them threads. In turn the process that has the lock is stopped for up to two
leases, the server is killed and comes back empty, a process is killed. The resource behind the lock judges: see
`Judgement`.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
from pathlib import Path

from tests.faults.toolkit.lock_contest import Contest, Verdict, restarted_server, without_restart
from tests.support.servers.redis_server import RedisServer

__all__ = ["prove"]


async def prove(name: str, folder: Path, *, acquisitions: int, every: float, rounds: int) -> Verdict:
    """Let them compete; return the verdict."""
    server = RedisServer() if name == "redis" else None
    try:
        if server is not None:
            server.start()
        store = without_restart(folder) if server is None else restarted_server(server)
        contest = Contest(folder, store, processes=8, clients=8, every=every)
        return await contest.run(acquisitions, rounds=rounds)
    finally:
        if server is not None:
            server.remove()


def main() -> int:
    """Run the proof and print the verdict."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("store", choices=["sqlite", "redis"])
    parser.add_argument("--acquisitions", type=int, default=0, help="10,000 on SQLite, 100,000 on Redis")
    parser.add_argument("--every", type=float, default=2.0, help="seconds between two faults")
    parser.add_argument("--rounds", type=int, default=60, help="faults in all")
    given = parser.parse_args()
    count = given.acquisitions or {"sqlite": 10_000, "redis": 100_000}[given.store]
    with tempfile.TemporaryDirectory() as folder:
        verdict = asyncio.run(
            prove(given.store, Path(folder), acquisitions=count, every=given.every, rounds=given.rounds)
        )
    print(verdict)
    return 0 if verdict.sound else 1


if __name__ == "__main__":
    raise SystemExit(main())
