"""An app with large arguments and results, and a process that enqueues: `python -m tests.faults.toolkit.claims_app`.

Its arguments are FIRST COUNT HOW: `enqueue` prints the id of each job that was accepted; `hang` puts the arguments of
all to the object store, prints "put", and never publishes them.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from typing import Any

from outlast import Outlast, Retry
from outlast.core.message import Message
from outlast.toolkit.objects.claims import Claims

__all__ = ["app", "answer_of", "payload_of", "shout"]

app = Outlast("claims")


@app.job(queue="work", retry=Retry(attempts=3))
async def shout(number: int, payload: str) -> str:
    """Return the payload in upper case; it takes a moment, so that a kill may hit it."""
    await asyncio.sleep(0.02)
    return payload.upper()


def payload_of(number: int) -> str:
    """Return the payload of a job: 20 to 60 KB, another one for each number."""
    return f"payload {number} " * (2000 + number % 7 * 500)


def answer_of(number: int) -> str:
    """Return the result that the job must have."""
    return payload_of(number).upper()


async def main(first: int, count: int, how: str) -> None:
    """Enqueue the jobs, or put their arguments."""
    if how == "hang":
        check_in, put = Claims.check_in, list[int]()

        async def check_in_and_hang(claims: Claims, messages: Sequence[Message]) -> Any:
            await check_in(claims, messages)
            put.append(1)
            if len(put) == count:
                print("put", flush=True)
            await asyncio.Event().wait()

        Claims.check_in = check_in_and_hang  # type: ignore[assignment, method-assign]
    async with app:

        async def enqueue(number: int) -> None:
            handle = await shout.with_options(id=f"n-{number}").enqueue(number, payload_of(number))
            print(handle.id, flush=True)

        for start in range(first, first + count, 10 if how == "enqueue" else count):
            await asyncio.gather(*(enqueue(number) for number in range(start, min(start + 10, first + count))))


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]))
