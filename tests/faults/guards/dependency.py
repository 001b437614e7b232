"""A dependency in a process of its own, which fails a share of its calls, or hangs, and counts those that reach it.

`python -m tests.faults.guards.dependency FAILS SEED`: prints its port, ends with its standard input. A call is a line
`NUMBER KEY`; the answer is `NUMBER ok` or `NUMBER failed`. The key "down" always fails, the key "hang" is never
answered, and the answer to "?" is the number of calls of each key as JSON.
"""

from __future__ import annotations

import asyncio
import json
import sys
from asyncio.subprocess import PIPE, Process
from collections import Counter
from random import Random
from types import TracebackType

__all__ = ["Dependency", "DependencyFailed"]


class DependencyFailed(Exception):
    """The dependency has answered that the call failed."""


class Dependency:
    """Starts the process, and calls it over one connection. `async with`."""

    def __init__(self, *, fails: float, seed: int = 2026) -> None:
        self._arguments = (str(fails), str(seed))
        self._answers: dict[int, asyncio.Future[str]] = {}
        self._number = 0

    async def __aenter__(self) -> Dependency:
        command = (sys.executable, "-m", "tests.faults.guards.dependency", *self._arguments)
        self._process: Process = await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE)
        assert self._process.stdout is not None
        port = int(await self._process.stdout.readline())
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", port)
        self._reading = asyncio.create_task(self._read())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._reading.cancel()
        self._writer.close()
        assert self._process.stdin is not None
        self._process.stdin.close()
        await self._process.wait()

    async def call(self, key: str) -> str:
        """Make one call; raise DependencyFailed."""
        answer = await self._ask(key)
        if answer != "ok":
            raise DependencyFailed(key)
        return answer

    async def calls(self) -> Counter[str]:
        """Return the calls that have reached it, by key."""
        return Counter(json.loads(await self._ask("?")))

    async def _ask(self, text: str) -> str:
        self._number += 1
        number = self._number
        answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._answers[number] = answer
        self._writer.write(f"{number} {text}\n".encode())
        try:
            return await answer
        finally:
            self._answers.pop(number, None)

    async def _read(self) -> None:
        async for line in self._reader:
            number, _, text = line.decode().rstrip("\n").partition(" ")
            if (answer := self._answers.get(int(number))) is not None and not answer.done():
                answer.set_result(text)


async def _serve(fails: float, rng: Random) -> None:
    calls: Counter[str] = Counter()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async for line in reader:
            number, key = line.decode().split()
            if key == "?":
                writer.write(f"{number} {json.dumps(calls)}\n".encode())
                continue
            calls[key] += 1
            if key != "hang":
                failed = key == "down" or rng.random() < fails
                writer.write(f"{number} {'failed' if failed else 'ok'}\n".encode())
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.to_thread(sys.stdin.read)
    server.close()


if __name__ == "__main__":
    asyncio.run(_serve(float(sys.argv[1]), Random(int(sys.argv[2]))))
