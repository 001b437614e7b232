"""Redis beside Memcached under the cache of Outlast: `make bench BENCH="--only toolkit-stores"`.

Writes docs/toolkit/redis-or-memcached.md. Both servers run on this machine with their usual settings, in turns (A B,
A B, ...), and one process of Outlast uses them. Values are not compressed, as that would cost more than the rest.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from statistics import median
from typing import Final

from benchmarks import machine
from benchmarks.figures import cell, number
from benchmarks.processes import cpu, resident
from outlast.aio.clock import SystemClock
from outlast.declare.value_forms import JsonForms
from outlast.toolkit.access import Toolkit
from outlast.toolkit.cache.cache import Cache
from tests.support.servers.memcached_server import MemcachedServer
from tests.support.servers.redis_server import RedisServer

__all__ = ["NAME", "write"]

NAME: Final = "toolkit-stores"
Server = RedisServer | MemcachedServer
Samples = dict[str, dict[str, list[float]]]
"""By row, then by server."""
KB: Final = 1024
FULL: Final = 32
"""MB that a server may use where its memory becomes full."""
KINDS: Final = ("Redis", "Memcached")


def started(kind: str, *, memory: int = 1024) -> Server:
    """Return a new server that may use so many MB, and removes the least recently used over that."""
    server: Server
    if kind == "Redis":
        # The points at which Debian's redis.conf, too, makes its server save.
        saves = ("--save", "3600 1", "--save", "300 100", "--save", "60 10000")
        server = RedisServer(options=(*saves, "--maxmemory", f"{memory}mb", "--maxmemory-policy", "allkeys-lru"))
    else:
        server = MemcachedServer("-m", str(memory))
    server.start()
    return server


def pid(server: Server) -> int:
    """Return its process."""
    assert server.process is not None
    return server.process.pid


def removed(server: Server) -> None:
    """End it, and remove what it has left."""
    server.stop()
    if isinstance(server, RedisServer):
        server.remove()


def cache_on(server: Server) -> tuple[Toolkit, Cache]:
    """Return a cache as an app has it, with a deadline that a busy machine keeps."""
    url = server.url if "?" in server.url else f"{server.url}?timeout=30"
    kit = Toolkit(url, clock=SystemClock(), timeout=30)
    cache = Cache(lambda: kit, JsonForms)
    cache.configure(compress_over=2**40, max_value=2**30, max_bytes=2**31)
    return kit, cache


class Turn:
    """One turn on one server: what each kind of call takes, as time that passes and as processor time."""

    def __init__(self, kind: str, server: Server, samples: Samples, part: float) -> None:
        self.kind = kind
        self.server = server
        self.samples = samples
        self.part = part

    def note(self, row: str, value: float) -> None:
        self.samples.setdefault(row, {}).setdefault(self.kind, []).append(value)

    async def time(self, row: str, calls: int, call: Callable[[int], Awaitable[object]], *, callers: int = 1) -> None:
        """Note what one call takes, in microseconds."""
        numbers = iter(range(max(callers, int(calls * self.part))))
        count = 0

        async def caller() -> None:
            nonlocal count
            for each in numbers:
                await call(each)
                count += 1

        used, began = time.process_time() + cpu([pid(self.server)]), time.perf_counter()
        await asyncio.gather(*(caller() for _ in range(callers)))
        passed = time.perf_counter() - began
        used = time.process_time() + cpu([pid(self.server)]) - used
        self.note(row, passed / count * 1e6)
        self.note(f"{row}, processor time", used / count * 1e6)

    async def calls(self) -> None:
        """Note what the calls of the cache take."""
        kit, cache = cache_on(self.server)
        small, large = "v" * KB, "v" * 100 * KB
        names = [f"many{number}" for number in range(50)]

        async def compute() -> str:
            return small

        for key, value in (("small", small), ("large", large)):
            await cache.set(key, value, ttl=600)
        await cache.set_many(dict.fromkeys(names, small), ttl=600)
        await self.time("hit, 1 KiB", 4000, lambda _: cache.get_or_set("small", compute, ttl=600, type=str))
        await self.time("hit, 100 KiB", 1000, lambda _: cache.get("large", type=str))
        await self.time("miss, with its computation, 1 KiB", 1500, lambda n: cache.get_or_set(f"m{n}", compute, ttl=60))
        await self.time("set, 1 KiB", 3000, lambda n: cache.set(f"s{n}", small, ttl=600))
        await self.time("set, 100 KiB", 600, lambda n: cache.set(f"l{n % 50}", large, ttl=600))
        await self.time("delete, 1 KiB", 3000, lambda n: cache.delete(f"s{n}"))
        await self.time("get_many of 50, 1 KiB each", 200, lambda _: cache.get_many(names, type=str))
        await self.time("hit, 1 KiB, by 8 callers at once", 8000, lambda n: cache.get(names[n % 50]), callers=8)
        await kit.close()

    async def memory(self) -> None:
        """Note the memory of 100,000 entries, per entry."""
        before = resident([pid(self.server)])[0]
        kit, cache = cache_on(self.server)
        count = int(100_000 * self.part)
        await filled(cache, count, lambda each: f"{each:0200}")
        self.note("memory", (resident([pid(self.server)])[0] - before) * 2**20 / count)
        await kit.close()

    async def restart(self) -> None:
        """Note the share of the entries that is left after a stop, and after a kill."""
        for how in ("stop", "kill"):
            kit, cache = cache_on(self.server)
            await filled(cache, 1000, str)
            await kit.close()
            process = self.server.process
            assert process is not None
            if how == "stop":
                process.terminate()
                process.wait()
                self.server.process = None
            else:
                self.server.stop()
                if isinstance(self.server, RedisServer):  # of the stop before
                    (self.server.folder / "dump.rdb").unlink(missing_ok=True)
            self.server.start()
            kit, cache = cache_on(self.server)
            self.note(f"left after a {how}", len(await cache.get_many(map(entry, range(1000)))) / 10)
            await cache.delete(*map(entry, range(1000)))
            await kit.close()


async def full(kind: str, samples: Samples, memory: int) -> None:
    """Note what a server keeps that got twice the values that it has memory for, and of those that are read often."""
    server = started(kind, memory=memory)
    kit, cache = cache_on(server)
    hot, count, value = [f"hot{each}" for each in range(100)], 2 * memory * KB, "v" * KB
    await cache.set_many(dict.fromkeys(hot, value), ttl=600)
    refused = 0
    for begin in range(0, count, 512):
        refused += not await cache.set_many({entry(each): value for each in range(begin, begin + 512)}, ttl=600)
        await cache.get_many(hot)
    latest = await left(cache, range(count - count // 10, count))
    turn = Turn(kind, server, samples, 1)
    turn.note("full: sets that were refused", refused)
    turn.note("full: left of all", (await left(cache, range(count))) * 100)
    turn.note("full: left of the latest tenth", latest * 100)
    turn.note("full: left of what was read all along", float(len(await cache.get_many(hot))))
    turn.note("full: resident", resident([pid(server)])[0])
    await kit.close()
    removed(server)


async def left(cache: Cache, numbers: range) -> float:
    """Return the share of the entries that is there."""
    found = 0
    for begin in range(numbers.start, numbers.stop, 500):
        found += len(await cache.get_many(map(entry, range(begin, min(begin + 500, numbers.stop)))))
    return found / len(numbers)


def entry(number: int) -> str:
    """Return the key of an entry."""
    return f"entry:{number}"


async def filled(cache: Cache, count: int, value: Callable[[int], str]) -> None:
    """Keep so many entries."""
    for begin in range(0, count, 500):
        numbers = range(begin, min(begin + 500, count))
        await cache.set_many({entry(each): value(each) for each in numbers}, ttl=3600)


async def measured(repetitions: int, part: float) -> Samples:
    """Return the samples."""
    samples: Samples = {}
    for _ in range(repetitions):
        for kind in KINDS:
            for what in (Turn.calls, Turn.memory, Turn.restart):
                server = started(kind)
                await what(Turn(kind, server, samples, part))
                removed(server)
            await full(kind, samples, FULL if part == 1 else 4)
    return samples


def versions() -> str:
    """Return those of the servers."""
    said = subprocess.run(["redis-server", "--version"], capture_output=True, text=True, check=True).stdout
    redis = next(word[2:] for word in said.split() if word.startswith("v="))
    memcached = subprocess.run(["memcached", "--version"], capture_output=True, text=True, check=True).stdout
    return f"Redis {redis}, Memcached {memcached.split()[-1]}"


def table(samples: Samples, rows: Iterable[str]) -> str:
    """Return rows with the median, the lowest and the highest."""
    lines = ["| | Redis | Memcached |", "|---|---|---|"]
    lines += [f"| {row} | {' | '.join(cell(samples[row][kind]) for kind in KINDS)} |" for row in rows]
    return "\n".join(lines)


def told(facts: dict[str, str]) -> str:
    """Return what tells machines apart."""
    text = "; ".join(f"{name} {value}" for name, value in facts.items() if not name.startswith(("SQLite", "inter")))
    return f"Measured with {text}"


def page(samples: Samples, facts: dict[str, str], repetitions: int) -> str:
    """Return the page."""
    calls = [row for row in samples if f"{row}, processor time" in samples]
    memory = {kind: number(median(samples["memory"][kind])) for kind in KINDS}
    rest = [row for row in samples if row.startswith(("left", "full"))]
    words = {
        "left after a stop": "entries left after a stop and a start, %",
        "left after a kill": "entries left after `kill -9` and a start, %",
        "full: sets that were refused": "steps of 512 sets that were refused",
        "full: left of all": "entries left of all, %",
        "full: left of the latest tenth": "entries left of the latest tenth, %",
        "full: left of what was read all along": "entries left of those that were read all along, %",
        "full: resident": "resident memory, MB",
    }
    named = {words[row]: samples[row] for row in rest}
    after = [words[row] for row in rest if row.startswith("left")]
    over = [words[row] for row in rest if row.startswith("full")]
    return PAGE.format(
        calls=table(samples, calls),
        processor=table({row: samples[f"{row}, processor time"] for row in calls}, calls),
        redis=memory["Redis"],
        memcached=memory["Memcached"],
        after=table(named, after),
        over=table(named, over),
        full=FULL,
        repetitions=repetitions,
        versions=versions(),
        facts=told(facts),
    )


def write(out: Path, *, repetitions: int = 5, quick: bool = False) -> int:
    """Measure, write the page below `out`, and print it."""
    folder = Path(tempfile.mkdtemp(prefix="outlast-stores-"))
    try:
        facts = machine.facts(folder, stores=())
    finally:
        shutil.rmtree(folder)
    os.environ.pop("OUTLAST_TOOLKIT_URL", None)
    count = 1 if quick else repetitions
    text = page(asyncio.run(measured(count, 0.02 if quick else 1.0)), facts, count)
    path = out / "docs" / "toolkit" / "redis-or-memcached.md"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    print(text)
    return 0


PAGE: Final = """# Redis or Memcached

Both keep the [cache](cache.md) in the memory of a server, and the cache keeps its promises on both: no old value after
a `delete`, no late result that is kept, one computation for all who miss.

**Take Redis** when you have it, or need more than values by key: tags, copies in the process (`near`), locks, limiters,
idempotency keys, a replica that takes over, a password, TLS. Its entries outlive a planned restart, it tells processes
at once that a computation has ended, and its clock is the only one. **Take Memcached** when it is there already and
keys are all you need, or when the cache is large and busy: reads and sets take less processor time, those of large
values a quarter, as they pass through a script on Redis; it uses all cores; and several of its servers share the keys
with nothing to fail over. Small values do not decide it: the two differ little, and a miss or a delete costs no less.

| | Redis | Memcached |
|---|---|---|
| tags, `near`, other pieces | yes | refused with the fix ([table](cache.md#memcached)) |
| another process sees that a computation has ended | at once | up to half a second later |
| times | by the server's clock | by the hosts' clocks, which must be in step |
| a server of several is lost | a replica takes over | its keys come from the source |
| commands run on | one core | all cores |
| over the memory limit | as `maxmemory-policy` says; by default sets fail | the least recently used leave |

Medians of {repetitions} turns, with the lowest and the highest, of {versions} and one process that calls
them, all on one machine; values are not compressed here.
{facts}.

## What a call takes

Microseconds that pass, by one caller unless said otherwise:

{calls}

Microseconds of processor time of the process and the server together, which other work on the machine changes less:

{processor}

## Memory

100,000 entries of 200 bytes: {redis} bytes an entry on Redis, {memcached} on Memcached.

## After a restart

Redis with the points of saving of Debian's `redis.conf`; after a kill it has what it saved last, nothing here:

{after}

## When the memory is full

{full} MB for each server (`maxmemory` with `allkeys-lru`, `-m`), and values of 1 KiB for twice as much. A hundred of
them are read again after each 512 sets:

{over}

`make bench BENCH="--only toolkit-stores"` measures it again and writes this page.
"""
