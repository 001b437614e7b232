"""The order shop outgrows its file: half-finished, in an outage, it is moved to a Redis server; the ledger balances."""

from __future__ import annotations

import asyncio
import random
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import httpx2
import msgspec

from outlast import Outlast, Settings
from outlast.core.store.records import Query
from outlast.demo.analytics import Sale
from outlast.demo.catalogue import Catalogue
from outlast.demo.customers import OrderAnswer, make_orders, send_orders
from outlast.demo.invoice import is_whole
from outlast.demo.ledger import Ledger, balance
from outlast.demo.mail import Mail
from outlast.demo.processes import DemoProcess
from outlast.demo.provider import Statement
from outlast.demo.run_files import RunFiles, free_ports
from tests.support.servers.redis_server import RedisServer

ORDERS = 40
UNFINISHED = ("scheduled", "ready", "running", "parked", "waiting")


class Shop:
    """The parts of one run: provider and mail server, and the shop itself on a store that it is told."""

    def __init__(self, folder: Path, stack: AsyncExitStack) -> None:
        shop, provider, smtp = free_ports(3, random.Random())
        self.places = RunFiles(root=str(folder), shop=shop, provider=provider, smtp=smtp)
        self.places.save()
        Catalogue(self.places.catalogue).make()
        self.provider = DemoProcess("provider", ["outlast.demo.provider"], folder)
        self.mail = DemoProcess("mail", ["outlast.demo.mail"], folder)
        self.accepted: dict[str, int] = {}
        self._folder = folder
        self._stack = stack
        self._left = list(make_orders(ORDERS, random.Random(7)))

    async def start(self, part: DemoProcess, port: int | None = None) -> DemoProcess:
        """Start a part, which is stopped when the test ends."""
        self._stack.push_async_callback(part.stop)
        await part.start(port=port)
        return part

    async def serve(self, name: str, url: str) -> tuple[DemoProcess, DemoProcess]:
        """Run the API and two worker processes on a store."""
        told = {"OUTLAST_SHOP_URL": url, "OUTLAST_SHOP_OBJECTS_URL": f"file:{self.places.objects}"}
        api = ["uvicorn", "outlast.demo.shop:app", "--port", str(self.places.shop), "--no-access-log"]
        work = ["outlast", "worker", "outlast.demo.shop:shop", "--processes", "2"]
        workers = await self.start(DemoProcess(f"workers-{name}", work, self._folder, told))
        return await self.start(DemoProcess(f"api-{name}", api, self._folder, told), self.places.shop), workers

    async def order(self, count: int) -> None:
        """Have so many more orders accepted."""
        orders, self._left = self._left[:count], self._left[count:]

        def answered(answer: OrderAnswer) -> None:
            self.accepted[answer.order] = answer.cents

        await send_orders(f"http://127.0.0.1:{self.places.shop}", orders, seconds=1, answered=answered)

    async def ledger(self) -> Ledger:
        """Ask the witnesses."""
        async with httpx2.AsyncClient() as client:
            answer = await client.get(f"http://127.0.0.1:{self.places.provider}/ledger")
        statement = msgspec.json.decode(answer.content, type=Statement)
        mails = [msgspec.json.decode(line, type=Mail) for line in self.places.mails.read_bytes().splitlines()]
        return balance(
            self.accepted,
            charges=statement.charges,
            repeats=statement.repeats,
            invoices=[path.stem for path in self.places.objects.glob("invoices/*.pdf") if is_whole(path.read_bytes())],
            emails=[mail.order for mail in mails],
            sales=[msgspec.json.decode(line, type=Sale) for line in self.places.sales.read_bytes().splitlines()],
        )


async def states(url: str) -> dict[str, int]:
    """Return how many jobs of a store are in each state."""
    async with Outlast("shop", settings=Settings(url=url, enqueue_timeout=60)) as app:
        return {
            str(state): count for state, count in (await (await app.runtime()).store.records.count(Query())).items()
        }


async def left(url: str) -> dict[str, int]:
    """Return the jobs of a store that have not ended, by state."""
    return {state: count for state, count in (await states(url)).items() if state in UNFINISHED and count}


def waiting(found: dict[str, int]) -> bool:
    """Tell whether as many jobs as were ordered in the outage wait, and none of them runs."""
    return found.get("scheduled", 0) + found.get("ready", 0) >= ORDERS // 4 and not found.get("running", 0)


async def until(url: str, what: str, holds: Callable[[dict[str, int]], bool]) -> None:
    """Wait until a store's states are as told; its last states are in the error."""
    deadline = time.monotonic() + 60
    while not holds(found := await states(url)):
        assert time.monotonic() < deadline, f"{what}: {found}"
        await asyncio.sleep(0.1)


@asynccontextmanager
async def server() -> AsyncIterator[str]:
    """Run a Redis server."""
    made = RedisServer(aof="always")
    await asyncio.to_thread(made.start)
    try:
        yield made.url
    finally:
        made.remove()


async def test_a_half_finished_run_moves_to_redis_and_loses_no_order(tmp_path: Path) -> None:
    old = f"sqlite:{tmp_path}/shop.db"
    async with AsyncExitStack() as stack:
        new = await stack.enter_async_context(server())
        shop = Shop(tmp_path, stack)
        await shop.start(shop.provider, shop.places.provider)
        await shop.start(shop.mail, shop.places.smtp)
        api, workers = await shop.serve("old", old)

        await shop.order(ORDERS // 4)
        await until(old, "some order went all the way", lambda found: found.get("succeeded", 0) >= 3)
        await shop.provider.kill()
        await shop.order(ORDERS // 4)
        await until(old, "payments are tried again, or wait for their guard", waiting)

        await api.stop()
        await shop.serve("new", new)
        words = ("move", "--from", old, "--to", new, "--yes", "--wait")
        move = await asyncio.create_subprocess_exec(sys.executable, "-m", "outlast", *words)
        await shop.order(ORDERS // 4)
        assert await asyncio.wait_for(move.wait(), 60) == 0
        await workers.stop()
        assert not await left(old)

        await shop.provider.start(port=shop.places.provider)
        await shop.order(ORDERS // 4)
        await until(new, "all is done", lambda found: not any(map(found.get, UNFINISHED)))
        ledger = await shop.ledger()
        assert ledger.accepted == ORDERS
        assert ledger.balances, ledger
        assert (ledger.charges, ledger.invoices, ledger.extra_emails) == (ORDERS, ORDERS, 0)
