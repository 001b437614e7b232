"""The HTTP client: `python -m benchmarks.http_load PORT JOBS CONNECTIONS`; keep-alive, one request at a time on each.

Bare streams, so that the service and not the client is what is measured on a small machine.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Iterator

from benchmarks.produce import percentiles, rows

__all__: list[str] = []

HEAD = "POST /jobs HTTP/1.1\r\nhost: bench\r\ncontent-type: application/json\r\n"


async def connection(port: int, work: Iterator[tuple[int, str]], times: list[float]) -> None:
    """Send requests until there is no work left. Raise on any answer that is not 202."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for user_id, email in work:
        body = json.dumps({"user_id": user_id, "email": email}).encode()
        head = f"{HEAD}content-length: {len(body)}\r\n\r\n"
        began = time.perf_counter()
        writer.write(head.encode() + body)
        answer = await reader.readuntil(b"\r\n\r\n")
        length = next(int(line[15:]) for line in answer.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        text = await reader.readexactly(length)
        times.append(time.perf_counter() - began)
        if not answer.startswith(b"HTTP/1.1 202"):
            raise RuntimeError(f"{answer.decode()}{text.decode()}")
    writer.close()
    await writer.wait_closed()


async def main(port: str, jobs: str, connections: str) -> None:
    """Send all and print the figures."""
    times: list[float] = []
    work = rows(0, int(jobs))
    start = time.perf_counter()
    await asyncio.gather(*(connection(int(port), work, times) for _ in range(int(connections))))
    figures = {"jobs": len(times), "seconds": time.perf_counter() - start, "call": percentiles(times)}
    print("RESULT " + json.dumps(figures), flush=True)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
