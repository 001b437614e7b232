"""Damages single values in a store, then uses all of it: the other jobs run, no call hangs or raises a raw error.

`python -m tests.faults.proofs.damage sqlite|redis [SECONDS] [SEED]`: 600 s by default, on a store of its own.
"""

from __future__ import annotations

import asyncio
import logging
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import apsw
import msgspec

from outlast.clients.redis.address import Address
from outlast.clients.redis.client import RedisClient
from outlast.core.exchanges.values import Binding, Exchange
from outlast.core.guards.record import commanded
from outlast.core.matching import ArgIs
from outlast.core.message import State, Usage
from outlast.core.moving import Hold, Unhold
from outlast.core.schedule import ScheduleEntry, Spec
from outlast.core.settlement import Finish, Note, Reschedule
from outlast.core.store.control import Cancel, Command, Edit, Prune, Purge, Redrive, RunNow
from outlast.core.store.records import Query
from outlast.core.store.store import CompleteStore
from outlast.core.topology import Queue, Topology
from outlast.testing.clock import FakeClock
from tests.support.jobs import A, B, Desk, failure, raw
from tests.support.origin import origin
from tests.support.stores import CASES

__all__ = ["Damage", "Report", "damage", "judge", "seeded"]

QUEUES = ("q", "r", "k")
PATIENCE = 20.0
"""Seconds after which a call hangs."""
RUN = {*(f"{queue}.{n}" for queue in QUEUES for n in range(3)), "k.b", "r.u", "q.late", "k.late", "r.fail"}
"""The jobs that must run, but for the damaged one."""
_STATES: tuple[tuple[State, ...], ...] = ((), ("dead",), ("running",), ("waiting",), ("ready",), ("succeeded",))


@dataclass(frozen=True)
class Damage:
    """What was damaged. spared: whether a job must run in spite of it."""

    what: str
    spared: Callable[[str], bool]


@dataclass
class Report:
    """The rounds, and what went wrong, by kind."""

    rounds: int = 0
    faults: Counter[str] = field(default_factory=Counter)


async def seeded(desk: Desk) -> None:
    """Fill the store with jobs in every state, with keys, results, failures and notes."""
    clock = desk.clock
    await desk.declare("q", records=100, concurrency=50)
    await desk.declare("r")
    await desk.declare("k")
    await desk.publish("q.res", "r.res", "r.dead", "k.res", args={"n": 1})
    await desk.claim(*QUEUES)
    await desk.store.save([Note(desk.fence("q.res"), "progress", raw(3))])
    await desk.finish("q.res", "r.res", "k.res", result=raw({"a": 1}), usage=Usage(1.0, 2.0))
    await desk.finish("r.dead", state="dead", error=failure())
    await desk.publish("r.fail", "q.run", "k.run", key="a")
    await desk.claim(*QUEUES)
    await desk.settle(Reschedule(desk.fence("r.fail"), clock.time() + 2, 2, failure()))
    await desk.publish(*(f"q.{n}" for n in range(3)), args={"n": 2})
    await desk.publish(*(f"r.{n}" for n in range(3)), args={"n": 2}, headers={"a": "b"}, redacted=("n",))
    await desk.publish(*(f"k.{n}" for n in range(3)), args={"n": 2}, key="a", expires=500)
    await desk.publish("k.b", key="b")
    await desk.publish("r.u", unique="u")
    await desk.publish("q.late", "k.late", delay=5)
    bindings = tuple(Binding(exchange="orders", queue=name, kind="send", parameter="order") for name in ("q", "r"))
    await desk.store.declare(Topology(exchanges=(Exchange(name="orders"),), bindings=bindings))
    await desk.store.declare(Topology((Queue(name="r"),), kinds_of={"r": ("send",)}))
    await desk.store.enlist(
        [ScheduleEntry(name="s", app="a", kind="clean", queue="q", spec=Spec(every=1e6), version="1")]
    )
    view = await desk.store.guards()
    await desk.store.swap([commanded(view.of("g"), "open", view.now)])


async def judge(desk: Desk, spared: Callable[[str], bool]) -> list[str]:
    """Use the whole store; return what hung, raised, or did not run though it was `spared`."""
    store, clock, faults = desk.store, desk.clock, []

    async def call(name: str, made: Awaitable[Any]) -> Any:
        try:
            async with asyncio.timeout(PATIENCE):
                return await made
        except Exception as error:
            faults.append(f"{name}: {type(error).__name__}: {error}"[:150])

    async def look() -> None:
        await call("stats", store.stats(()))
        await call("totals", store.totals())
        await call("count", store.count(Query()))
        for states in _STATES:
            page = await call(f"find {states}", store.find(Query(states=states, limit=100)))
            msgspec.json.encode(page)
        await call("find by argument", store.find(Query(args=(ArgIs(("n",), (2,)),))))
        await call("find by key", store.find(Query(key="a")))
        await call("get", store.get(["q.0", "r.0", "k.0", "q.res", "r.dead", "r.fail", "q.run"]))
        await call("bindings", store.bindings())
        await call("guards", store.guards())
        await call("schedules", store.schedules())
        await call("wait", store.wait(["q.0", "k.0", "q.res"], 0))

    await call("open", store.open())
    await look()
    for queue in QUEUES:
        await call("declare", desk.declare(queue))
    await call("publish", desk.publish("q.new", "r.new", "k.new"))
    await call("extend", desk.extend())
    ran: set[str] = set()
    for _ in range(8):
        clock.advance(2)
        claiming = store.claim(dict.fromkeys(QUEUES, 100), limit=100, holder=B, lease=10, wait=0)
        given = await call("claim", claiming) or []
        ran |= {each.message.id for each in given}
        await call("settle", store.settle([Finish(each.fence, "succeeded") for each in given]))
    faults += [f"{id_} did not run" for id_ in sorted(RUN - ran) if spared(id_)]
    await look()
    for id_ in ("q.0", "r.0", "k.0", "r.dead", "q.res"):
        commands: tuple[Command, ...] = (
            Cancel(id_), Redrive(id_), Edit(id_, priority="low"), Edit(id_, change=raw({"n": 1})), RunNow(id_),
            Hold(id_, "x"), Unhold(id_), Purge(id=id_),
        )  # fmt: skip
        for command in commands:
            await call(type(command).__name__, store.apply([command]))
    clock.advance(3600 * 24 * 40)
    await call("prune", store.apply([Prune()]))
    await call("purge a key", store.apply([Purge(key="a")]))
    await call("purge a queue", store.apply([Purge(queue="q")]))
    await call("schedules", store.schedules())
    await call("forfeit", store.forfeit(A, crashed=True))
    await look()
    await call("close", store.close())
    return faults


class Vandal(Protocol):
    """Damages one value of a closed store in `folder`; None if there was nothing to damage."""

    async def __call__(self, folder: Path, rng: random.Random) -> Damage | None: ...


VALUES: tuple[Any, ...] = (
    b"\xff\x00", "garbage", "", "[" * 20_000, '{"n":' + "1" * 5000 + "}", -5, 2**62, float("inf"), 1.5, None,
)  # fmt: skip
NOT_TEXT = "cast(x'7b22ff227d' as text)"
TABLES = (
    "job",
    "job",
    "job",
    "job",
    "queue",
    "lane",
    "holder",
    "failure",
    "note",
    "schedule",
    "guard",
    "exchange",
    "binding",
    "total",
)
NO_ROWID = {"note": "name", "schedule": "name", "guard": "name", "exchange": "name", "binding": "name", "total": "kind"}


async def vandalize_file(folder: Path, rng: random.Random) -> Damage | None:
    """Put a value of another type, or a changed text, into one column of one row."""
    with apsw.Connection(str(folder / "jobs.db")) as db:
        table = rng.choice(TABLES)
        described: list[Any] = db.execute(f"pragma table_info({table})").fetchall()
        column = rng.choice([row[1] for row in described if row[1] not in ("seq", "nr", table) or not row[5]])
        name = NO_ROWID.get(table, "rowid")
        rows: list[Any] = db.execute(f"select {name}, {column} from {table} order by 1").fetchall()
        if not rows:
            return None
        number, before = rng.choice(rows)
        where = f"{name} = {number!r}"
        victim = queue = ""
        if table == "job":
            victim = str(db.execute(f"select id from job where {where}").get)
        elif table in ("queue", "lane"):
            of_row = f"select queue from {table} where {where}"
            queue = str(db.execute(f"select name from queue where queue = ({of_row})").get)
        try:
            if rng.random() < 0.1:
                db.execute(f"update {table} set {column} = {NOT_TEXT} where {where}")
            else:
                value = _flipped(before, rng) if rng.random() < 0.4 else rng.choice(VALUES)
                db.execute(f"update {table} set {column} = ? where {where}", (value,))
        except apsw.ConstraintError:
            return None
    if table == "job":
        return Damage(f"job.{column}", lambda id_: id_ != victim)
    # A key stands still until the tidier sees it; a queue may be paused.
    return Damage(f"{table}.{column}", lambda id_: not queue or not id_.startswith(queue + "."))


def _flipped(value: Any, rng: random.Random) -> Any:
    if not isinstance(value, str) or not value:
        return value
    at = rng.randrange(len(value))
    return value[:at] + chr(ord(value[at]) ^ (1 << rng.randrange(6))) + value[at + 1 :]


HASHES = ("b", "b", "b", "d", "d", "c", "k", "n", "f", "res", "u", "p", "ac", "t")


class RedisVandal:
    """Changes one field of a hash of one queue."""

    def __init__(self, client: RedisClient, namespace: Callable[[Path], str]) -> None:
        self._client = client
        self._namespace = namespace

    async def __call__(self, folder: Path, rng: random.Random) -> Damage | None:
        """Flip a bit, shorten, replace or remove the field."""
        queue, kind = rng.choice(QUEUES), rng.choice(HASHES)
        key = f"{{{self._namespace(folder)}:{queue}}}:{kind}"
        fields = await self._client.command("HKEYS", key)
        if not fields:
            return None
        name = rng.choice(sorted(fields))
        value = bytearray(await self._client.command("HGET", key, name))
        how = rng.choice(("flip", "flip", "flip", "short", "text", "long", "zero", "gone"))
        if how == "gone" and kind in ("c", "k", "d", "b"):  # then there is no record: nothing tells that there was one
            return None
        if how == "flip" and value:
            value[rng.randrange(len(value))] ^= 1 << rng.randrange(8)
        changed = {"short": value[: len(value) // 2], "text": b"hello", "long": b"x" * 300, "zero": bytes(len(value))}
        if how == "gone":
            await self._client.command("HDEL", key, name)
        else:
            await self._client.command("HSET", key, name, bytes(changed.get(how, value)))
        # Counters of a queue and its keys may be other numbers now: nothing shows that.
        spared = lambda id_: id_ != f"{queue}.{name.decode(errors='replace')}"  # noqa: E731
        if kind in ("c", "k"):
            spared = lambda id_: not id_.startswith(queue + ".")  # noqa: E731
        return Damage(f"{key} {name!r} {how}", spared)


async def damage(
    make: Callable[[Path, FakeClock], CompleteStore],
    vandal: Vandal,
    folder: Path,
    *,
    rounds: int,
    seconds: float,
    seed: int,
) -> Report:
    """Seed, damage and judge stores, so many rounds or for so many seconds, whichever ends first."""
    report, until, number = Report(), time.monotonic() + seconds, 0
    while report.rounds < rounds and time.monotonic() < until:
        number += 1
        place, clock, rng = folder / str(number), FakeClock(), random.Random(f"{seed}.{number}")
        place.mkdir()
        store = make(place, clock)
        await store.open()
        await seeded(Desk(store, clock))
        await store.close()
        done = await vandal(place, rng)
        if done is None:
            continue
        report.rounds += 1
        for fault in await judge(Desk(make(place, clock), clock), done.spared):
            report.faults[f"round {number}, {done.what}: {fault}"] += 1
    return report


async def _main(kind: str, seconds: float, seed: int) -> Report:
    case = next(case for case in CASES if case.name == kind)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)

        def make(place: Path, clock: FakeClock) -> CompleteStore:
            return case.make(place, clock, 1 << 20)

        if kind == "sqlite":
            return await damage(make, vandalize_file, folder, rounds=10**9, seconds=seconds, seed=seed)
        from tests.support.stores import namespace_of, redis_url

        client = RedisClient(Address.of(redis_url()))
        await client.open()
        try:
            return await damage(
                make, RedisVandal(client, namespace_of), folder, rounds=10**9, seconds=seconds, seed=seed
            )
        finally:
            await client.close()


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    wanted = [*sys.argv[1:], *("sqlite", "600", "1")[len(sys.argv) - 1 :]]
    print(origin(int(wanted[2])), flush=True)
    found = asyncio.run(_main(wanted[0], float(wanted[1]), int(wanted[2])))
    print(f"{found.rounds} rounds, {sum(found.faults.values())} faults")
    for text, times in found.faults.most_common(50):
        print(times, text)
    sys.exit(bool(found.faults))
