"""The proxy of proxy.py in a process of its own, so that its work takes no time of the process under test."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from tests.support.servers.proxy import proxied

__all__ = ["ProxyProcess", "proxy_process"]


class ProxyProcess:
    """Between clients of `port` and a server at a port of this host."""

    def __init__(self, target: int) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.servers.proxy_process", str(target)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.port = self._answer()

    def reset(self) -> int:
        """Reset every connection that is open; return how many connections were accepted so far."""
        assert self.process.stdin is not None
        self.process.stdin.write("reset\n")
        self.process.stdin.flush()
        return self._answer()

    def stop(self) -> None:
        """End it, and wait for its end."""
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()
        self.process.wait()

    def _answer(self) -> int:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError("the process of the proxy has ended")
        return int(line)


@contextmanager
def proxy_process(target: int) -> Iterator[ProxyProcess]:
    """Have one for the block."""
    process = ProxyProcess(target)
    try:
        yield process
    finally:
        process.stop()


async def _serve(target: int) -> None:
    async with proxied(target) as proxy:
        print(proxy.port, flush=True)
        while await asyncio.to_thread(sys.stdin.readline):
            proxy.reset()
            print(proxy.accepted, flush=True)


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1])))
