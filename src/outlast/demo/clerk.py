"""A clerk who counts a stock, and stands still with its lock in hand: the database refuses what he writes then.

`python -m outlast.demo.clerk PRODUCT [--stand-still]`
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Final, Literal

from outlast import LockLost
from outlast.demo.catalogue import Catalogue
from outlast.demo.processes import DemoProcess
from outlast.demo.run_files import RunFiles

__all__ = ["PRODUCT", "let_stand_still", "recount"]

PRODUCT: Final = 6
"""The product that the clerk counts. The customers who find the one before it sold out buy it too."""
ACCEPTED, REFUSED = 0, 3
_PATIENCE: Final = 4.0
_STANDS: Final = re.compile(r"^stands still with token (\d+)$", re.MULTILINE)


def recount(number: int, pause: Callable[[int], None]) -> bool:
    """Count a stock under its lock, and write what was counted; return whether the database accepted it.

    pause: called with the token between the read and the write.
    """
    from outlast.demo.shop import catalogue, shop  # the orchestrator watches clerks, and opens no store of the shop

    changed = 0
    with suppress(LockLost), shop.lock(f"stock:{number}", lease="1s", wait="30s") as lease:
        lease.confirm(catalogue().enter(number, lease.token))
        found = catalogue().product(number)
        pause(lease.token)
        if found is not None:  # no lease.check() here: this shows that the database refuses what it would have caught
            changed = catalogue().count(found, lease.token)
        lease.confirm(changed)
    return changed > 0


async def let_stand_still(
    files: RunFiles, environ: Mapping[str, str], note: Callable[[Literal["info", "down", "up"], str], None]
) -> bool:
    """Let a clerk stand still until his lease has ended and others have sold; return whether his write was refused.

    note: called with what happens.
    """
    clerk = DemoProcess("clerk", ["outlast.demo.clerk", str(PRODUCT), "--stand-still"], files.directory, environ)
    next_clerk = DemoProcess("next-clerk", ["outlast.demo.clerk", str(PRODUCT)], files.directory, environ)
    await clerk.start()
    try:
        while not (stands := _STANDS.search(clerk.tail())):
            if clerk.pid is None:
                return False
            await asyncio.sleep(0.05)
        note("down", "SIGSTOP to a clerk who has the lock of a stock")
        if not await _is_overtaken(Catalogue(files.catalogue), int(stands[1])):  # no customer wants one now
            await next_clerk.start()
            await next_clerk.wait()
        clerk.signal(signal.SIGCONT)
        refused = await clerk.wait() == REFUSED
    finally:
        for each in (clerk, next_clerk):  # a clerk who is stopped would stay when the demo is interrupted
            await each.kill()
    does = "refuses" if refused else "accepts"
    note("up" if refused else "info", f"the clerk goes on: the database {does} what he writes")
    return refused


async def _is_overtaken(shop: Catalogue, token: int) -> bool:
    """Return whether a newer holder of the lock comes to the stock in time."""
    end = time.monotonic() + _PATIENCE
    while time.monotonic() < end:
        if await asyncio.to_thread(shop.fence, PRODUCT) > token:
            return True
        await asyncio.sleep(0.1)
    return False


def _stand_still(token: int) -> None:
    _say(f"stands still with token {token}")
    os.kill(os.getpid(), signal.SIGSTOP)


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main(arguments: list[str]) -> int:
    """Count; return 0 if the database accepted it, 3 if not."""
    accepted = recount(int(arguments[0]), _stand_still if "--stand-still" in arguments else lambda _: None)
    _say("accepted" if accepted else "refused")
    return ACCEPTED if accepted else REFUSED


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
