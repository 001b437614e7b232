"""A move that kills itself: `python -m tests.faults.move.dying_move FROM TO STEPS`, after that many durable steps."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence

from outlast.brokers.sqlite import SqliteStore
from outlast.cli.root import run
from outlast.core.store.control import Answer, Command

__all__: list[str] = []


def main(source: str, target: str, steps: int) -> int:
    """Run the real command; every `apply` of either store is one step."""
    left = steps
    apply = SqliteStore.apply

    async def dying(store: SqliteStore, commands: Sequence[Command]) -> list[Answer]:
        nonlocal left
        answers = await apply(store, commands)
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return answers

    SqliteStore.apply = dying  # type: ignore[assignment, method-assign]
    return run(["move", "--from", source, "--to", target, "--yes"])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
