"""The floor under Outlast's Redis store: publish, claim, run and ack, with leases and fencing, and nothing around them.

One script call a batch settles the last batch and claims the next, which is in flight while a batch runs; bodies by id.
With retention (as Outlast ships it): an ended job becomes a record, the oldest beyond RECORDS records become tombstones
(body gone, id remembered for 24 h), in the same call. Needs redis with hiredis, msgspec and uvloop.
`python -m benchmarks.floor_redis` is its worker.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Sequence
from typing import Any

import msgspec
import redis.asyncio
import uvloop

from benchmarks import counter

__all__ = ["client"]

RECORDS = 10_000
REMEMBERED = 24 * 3600
BATCH = 256
LEASE = 30

PUBLISH = """
-- KEYS ready, body prefix  ARGV id, body, ...
local ids, bodies = {}, {}
for i = 1, #ARGV, 2 do
  ids[#ids + 1] = ARGV[i]; bodies[#bodies + 1] = KEYS[2] .. ARGV[i]; bodies[#bodies + 1] = ARGV[i + 1]
end
redis.call('MSET', unpack(bodies)); redis.call('RPUSH', KEYS[1], unpack(ids))
return #ids
"""
STEP = """
-- KEYS ready, body prefix, leases, tokens, ended, tombs
-- ARGV now, lease until, limit, records, remembered since, n, (id, token) x n  -> {lost, token, ids, bodies}
local lost, n = {}, tonumber(ARGV[6])
if n > 0 then
  local ids = {}
  for i = 1, n do ids[i] = ARGV[5 + 2 * i] end
  local tokens, mine, ended = redis.call('HMGET', KEYS[4], unpack(ids)), {}, {}
  for i = 1, n do
    if tokens[i] == ARGV[6 + 2 * i] then
      mine[#mine + 1] = ids[i]; ended[#ended + 1] = ARGV[1]; ended[#ended + 1] = ids[i]
    else lost[#lost + 1] = ids[i] end
  end
  if #mine > 0 then
    redis.call('HDEL', KEYS[4], unpack(mine)); redis.call('ZREM', KEYS[3], unpack(mine))
    redis.call('ZADD', KEYS[5], unpack(ended))
    local many = redis.call('ZCARD', KEYS[5]) - ARGV[4]
    if many > 0 then
      local old, keys, tombs = redis.call('ZPOPMIN', KEYS[5], many), {}, {}
      for i = 1, #old, 2 do
        keys[#keys + 1] = KEYS[2] .. old[i]; tombs[#tombs + 1] = old[i + 1]; tombs[#tombs + 1] = old[i]
      end
      redis.call('UNLINK', unpack(keys)); redis.call('ZADD', KEYS[6], unpack(tombs))
    end
    local gone = redis.call('ZRANGEBYSCORE', KEYS[6], '-inf', ARGV[5], 'LIMIT', 0, 1000)
    if #gone > 0 then redis.call('ZREM', KEYS[6], unpack(gone)) end
  end
end
local limit = tonumber(ARGV[3])
local ids = limit > 0 and redis.call('LPOP', KEYS[1], limit)
if not ids then return {lost, '', {}, {}} end
local token = tostring(redis.call('INCR', KEYS[4] .. ':last'))
local leases, tokens, keys = {}, {}, {}
for i = 1, #ids do
  leases[2 * i - 1] = ARGV[2]; leases[2 * i] = ids[i]; tokens[2 * i - 1] = ids[i]; tokens[2 * i] = token
  keys[i] = KEYS[2] .. ids[i]
end
redis.call('ZADD', KEYS[3], unpack(leases)); redis.call('HSET', KEYS[4], unpack(tokens))
return {lost, token, ids, redis.call('MGET', unpack(keys))}
"""
KEYS = ["{q}:ready", "{q}:job:", "{q}:leases", "{q}:tokens", "{q}:ended", "{q}:tombs"]


class Body(msgspec.Struct):
    """A job as it is kept."""

    kind: str
    args: dict[str, Any]
    attempt: int = 1


class FloorClient:
    """What arrives while a call is under way goes into the next one."""

    async def open(self) -> None:
        """Connect."""
        self._redis = redis.asyncio.Redis.from_url(os.environ["BENCH_REDIS"])
        self._publish = self._redis.register_script(PUBLISH)
        self._encode = msgspec.json.Encoder().encode
        self._waiting: list[tuple[tuple[str, bytes], asyncio.Future[None]]] = []
        self._flusher: asyncio.Task[None] | None = None
        self._count = 0

    async def close(self) -> None:
        """Disconnect."""
        await self._redis.aclose()

    def _row(self, user_id: int, email: str) -> tuple[str, bytes]:
        self._count += 1
        body = self._encode(Body("send", {"user_id": user_id, "email": email}))
        return f"{time.time_ns():016x}{self._count:08x}", body

    async def _send(self, batch: Sequence[tuple[str, bytes]]) -> None:
        await self._publish(keys=KEYS[:2], args=[part for row in batch for part in row])

    async def _flush(self) -> None:
        while self._waiting:
            group, self._waiting = self._waiting, []
            await self._send([row for row, _ in group])
            for _, accepted in group:
                accepted.set_result(None)
        self._flusher = None

    async def one(self, user_id: int, email: str) -> object:
        """Enqueue one job."""
        await self._send([self._row(user_id, email)])
        return None

    async def among(self, user_id: int, email: str) -> object:
        """Enqueue one job in the next call."""
        accepted = asyncio.get_running_loop().create_future()
        self._waiting.append((self._row(user_id, email), accepted))
        if self._flusher is None:
            self._flusher = asyncio.create_task(self._flush())
        return await accepted

    async def many(self, batch: Sequence[tuple[int, str]]) -> object:
        """Enqueue a batch in one call."""
        await self._send([self._row(*row) for row in batch])
        return None


def client() -> FloorClient:
    """Return what enqueues."""
    return FloorClient()


async def handler(user_id: int, email: str) -> None:
    """The job."""
    counter.run(user_id, email)


class Worker:
    """Claims, runs and acks until it is told to stop."""

    def __init__(self) -> None:
        self._redis = redis.asyncio.Redis.from_url(os.environ["BENCH_REDIS"])
        self._script = self._redis.register_script(STEP)
        self._acks: list[Any] = []

    def _step(self, limit: int) -> asyncio.Future[Any]:
        """Settle what has ended, and claim so many."""
        acks, self._acks = self._acks, []
        now = time.time()
        head = [now, now + LEASE, limit, RECORDS, now - REMEMBERED, len(acks) // 2]
        step: asyncio.Future[Any] = asyncio.ensure_future(self._script(keys=KEYS, args=[*head, *acks]))
        return step

    async def _run(self, job: bytes, token: bytes, args: dict[str, Any]) -> None:
        await handler(**args)
        self._acks += (job, token)

    async def work(self, stop: asyncio.Event) -> None:
        """Run batches; the next claim and the last acks travel together, while the batch runs."""
        decode = msgspec.json.Decoder(Body).decode
        pending = self._step(BATCH)
        while not stop.is_set():
            _, token, jobs, bodies = await pending
            if not jobs and not self._acks:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), 0.001)
            pending = self._step(BATCH)
            await asyncio.sleep(0)
            pairs = zip(jobs, bodies, strict=True)
            await asyncio.gather(*(asyncio.ensure_future(self._run(j, token, decode(body).args)) for j, body in pairs))
        await pending
        await self._step(0)
        await self._redis.aclose()


async def main() -> None:
    """Work until SIGTERM."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await Worker().work(stop)


if __name__ == "__main__":
    uvloop.run(main())
