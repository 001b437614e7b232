"""One run of the demo: start all processes, send orders, stop the provider, kill workers, and check the ledger."""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
import shutil
import signal
import tempfile
import time
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Literal

import httpx2
import msgspec

from outlast.aio.clock import SystemClock
from outlast.brokers.registry import connect
from outlast.core.errors import StoreError
from outlast.core.policy import DEFAULTS
from outlast.core.store.broker import QueueStats
from outlast.demo.board import Board, Incident, Snapshot
from outlast.demo.catalogue import PRODUCTS, Catalogue
from outlast.demo.clerk import let_stand_still
from outlast.demo.customers import SCRIPT, make_orders, send_orders, send_script
from outlast.demo.invoice import is_whole
from outlast.demo.ledger import Ledger, balance
from outlast.demo.page import make_page, page_server
from outlast.demo.processes import DemoProcess, NotReady
from outlast.demo.provider import Statement
from outlast.demo.run_files import RunFiles, free_ports
from outlast.demo.shop import shop as shop_app
from outlast.demo.shop_ledger import balance_shop
from outlast.demo.store import check_free, forget, forget_events, keep_at, objects_at, toolkit_at
from outlast.demo.toolkit_watch import ask_best_sellers, ask_pieces

__all__ = ["Demo", "DemoPlan"]

LOOK_EVERY = 0.25
MORE_ORDERS = 10


class DemoPlan(msgspec.Struct, frozen=True, kw_only=True):
    """The plan of a run. Orders are sent evenly over 2 x outage + 2 seconds; the outage begins after a quarter."""

    orders: int = 200
    outage: float = 8.0
    processes: int = 2
    stay: bool = False
    url: str = ""
    """The URL of the Redis server that keeps the jobs; "" for an SQLite file of the run."""
    amqp_url: str = ""
    """The URL of the RabbitMQ that routes the events; "" for none: the store routes them."""

    @property
    def sending(self) -> float:
        """Seconds over which the orders are sent."""
        return 2 * self.outage + 2

    @property
    def toolkit_outage(self) -> float:
        """Seconds for which the toolkit's store is away."""
        return self.outage * 3 / 8

    @property
    def patience(self) -> float:
        """Seconds after the last order within which all orders must be done."""
        return 60 + 0.1 * self.orders


class Demo:
    """One run, from the temporary directory to the ledger. `async with` starts all processes and stops them.

    show: called with each incident. A process that does not start raises NotReady with its log.
    """

    def __init__(self, plan: DemoPlan, show: Callable[[Incident], None], rng: random.Random) -> None:
        shop, provider, smtp, page = free_ports(4, rng)
        directory = Path(tempfile.mkdtemp(prefix="outlast-demo-")).resolve()
        self.plan = plan
        self.files = RunFiles(root=str(directory), shop=shop, provider=provider, smtp=smtp)
        self.board = Board(self.files, plan.orders, time.monotonic(), workers=plan.processes, outage=plan.outage)
        if plan.amqp_url:
            self.board.routed_by = "RabbitMQ"
        self.page = f"http://127.0.0.1:{page}/"
        self.shop = f"http://127.0.0.1:{shop}"
        self.keep = plan.stay
        self._show, self._rng, self._page_port = show, rng, page
        self._stack = AsyncExitStack()
        self._url = keep_at(plan.url, directory, rng)
        self._ordered = 0
        self._outage = asyncio.Lock()
        self._toolkit_outage = asyncio.Lock()
        self._looked = asyncio.Event()
        api = ["uvicorn", "outlast.demo.shop:app", "--port", str(shop), "--no-access-log"]
        worker = ["outlast", "worker", "outlast.demo.shop:shop", "--processes", str(plan.processes)]
        self._environ = environ = {
            "OUTLAST_SHOP_URL": self._url,
            "OUTLAST_SHOP_AMQP_URL": plan.amqp_url,
            "OUTLAST_SHOP_TOOLKIT_URL": toolkit_at(self.files.toolkit),
            "OUTLAST_SHOP_TOOLKIT_TIMEOUT": "5",  # a disk that is busy for a second must not look like the outage
            "OUTLAST_SHOP_OBJECTS_URL": objects_at(self.files.objects),
        }
        self._store = connect(self._url, clock=SystemClock(), max_body=DEFAULTS.max_body)
        self._provider = DemoProcess("provider", ["outlast.demo.provider"], directory)
        self._mail = DemoProcess("mail", ["outlast.demo.mail"], directory)
        self._api = DemoProcess("api", api, directory, environ)
        self._workers = DemoProcess("workers", worker, directory, environ)

    async def __aenter__(self) -> Demo:
        """Start all processes and wait until they listen and consume."""
        try:
            await self._start()
        except BaseException:
            self.keep = True
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.keep = self.keep or kind is not None
        await self._stack.aclose()

    async def _start(self) -> None:
        self.files.save()
        self._stack.push_async_callback(self._clean)
        if self.plan.amqp_url:
            await check_free(self.plan.amqp_url, shop_app.registry.topology())
            self._stack.push_async_callback(self._clean_events)
        await self._store.broker.open()
        self._stack.push_async_callback(self._store.broker.close)
        for part in (self._provider, self._mail, self._workers, self._api):  # stopped in reverse order
            self._stack.push_async_callback(part.stop)
        await asyncio.gather(
            self._provider.start(port=self.files.provider),
            self._mail.start(port=self.files.smtp),
            self._api.start(port=self.files.shop),
        )
        await self._workers.start()
        await asyncio.gather(self._consuming(), self._open_toolkit())
        tasks = await self._stack.enter_async_context(asyncio.TaskGroup())
        actions = {
            "order": self.order_more,
            "outage": self.outage,
            "toolkit": self.toolkit_outage,
            "kill": self.kill_worker,
        }
        server = page_server(make_page(self._snapshot, actions), self._page_port)
        tasks.create_task(server.serve())
        looking = [tasks.create_task(follow()) for follow in (self._look, self._follow_breaker, self._follow_toolkit)]

        def stop_tasks() -> None:
            server.should_exit = True
            for each in looking:
                each.cancel()

        self._stack.callback(stop_tasks)
        self.board.started = time.monotonic()  # the chart begins with the first order, not with the start-up
        self._note("info", f"all processes are running, {self.plan.processes} of them workers")

    async def run(self) -> Ledger:
        """Send the orders during an outage and two kills of a worker; return the ledger when all are done or late."""
        plan = self.plan
        async with asyncio.TaskGroup() as group:
            group.create_task(self._order(plan.orders, plan.sending))
            group.create_task(self._trouble())
            group.create_task(self._trouble_of_toolkit())
        self._note("info", f"all {plan.orders} orders are accepted")
        with suppress(TimeoutError):
            async with asyncio.timeout(plan.patience):
                await self._finished()
        return await self.settle_up()

    async def settle_up(self) -> Ledger:
        """Read charges, invoices, e-mails and sales, compare them with the orders, and record the result."""
        self.board.look(time.monotonic())
        async with httpx2.AsyncClient() as client:
            answer = await client.get(f"http://127.0.0.1:{self.files.provider}/ledger")
            best = (await client.get(f"{self.shop}/best-sellers", params={"n": len(PRODUCTS)})).json()
        statement = msgspec.json.decode(answer.content, type=Statement)
        invoices = self.board.invoices().items()
        damaged = {order for order, sha256 in invoices if not self._has_digest(order, sha256)}
        ledger = balance(
            self.board.accepted,
            charges=statement.charges,
            repeats=statement.repeats,
            invoices=self.board.invoices().keys() - damaged,
            emails=[mail.order for mail in self.board.mails],
            sales=self.board.sales,
            shop=balance_shop(
                Catalogue(self.files.catalogue).account(),
                self.board.told,
                replays=self.board.replays,
                script=self.board.script,
                stale_refused=self.board.stale_refused,
                best_sellers=best,
                damaged=damaged,
            ),
        )
        self.board.ledger = ledger
        self.keep = self.keep or not ledger.balances
        self._note(
            "done" if ledger.balances else "failed", "the ledger " + ("balances" if ledger.balances else "fails")
        )
        return ledger

    def _has_digest(self, order: str, sha256: str) -> bool:
        """Return whether an invoice is in the folder of the object store, is a whole PDF and has its digest."""
        path = self.files.objects / "invoices" / f"{order}.pdf"
        content = path.read_bytes() if path.exists() else b""
        return is_whole(content) and hashlib.sha256(content).hexdigest() == sha256

    async def outage(self) -> None:
        """Kill the provider and start it again after the planned time; do nothing while it is down."""
        if self._outage.locked():
            return
        async with self._outage:
            pid = await self._provider.kill()
            self.board.provider_down(time.monotonic())
            self._note("down", f"SIGKILL to the provider, pid {pid}")
            await asyncio.sleep(self.plan.outage)
            await self._provider.start(port=self.files.provider)
            seconds = self.board.provider_up(time.monotonic())
            self._note("up", f"provider is up again after {seconds:.1f} s")

    async def toolkit_outage(self) -> None:
        """Take the toolkit's file away, as when its disk is gone, for part of the planned time; then give it back."""
        if self._toolkit_outage.locked():
            return
        async with self._toolkit_outage:
            gone = self.files.toolkit.with_name("toolkit-away")
            self.files.toolkit.rename(gone)
            self.board.toolkit.taken(time.monotonic() - self.board.started)
            self._note("down", "the toolkit's store is taken away")
            try:
                await asyncio.sleep(self.plan.toolkit_outage)
            finally:
                gone.rename(self.files.toolkit)
            self.board.toolkit.given_back(time.monotonic() - self.board.started)
            self._note("up", f"the toolkit's store is back after {self.plan.toolkit_outage:.1f} s")

    async def kill_worker(self) -> None:
        """Kill the worker process that started the last payment with SIGKILL; do nothing before the first payment."""
        run = self.board.last_run
        if run is None:
            return
        with suppress(ProcessLookupError):
            os.kill(run.pid, signal.SIGKILL)
            self.board.killed.append(time.monotonic() - self.board.started)
            self._note("killed", f"SIGKILL to a worker, pid {run.pid}")

    async def order_more(self) -> None:
        """Send a few more orders at once."""
        await self._order(MORE_ORDERS, 1.0)

    async def _trouble(self) -> None:
        """Make the outage; kill one worker in its middle and one when payments succeed again."""
        await asyncio.sleep(self.plan.sending / 4)
        async with asyncio.TaskGroup() as group:
            group.create_task(self.outage())
            await asyncio.sleep(self.plan.outage / 2)
            await self.kill_worker()
        paid = self.board.counts().paid
        while self.board.counts().paid == paid and self.board.unfinished():
            await self._looked.wait()
        await self.kill_worker()

    async def _trouble_of_toolkit(self) -> None:
        """Let a script order; take the toolkit's store away within the outage; then stop a clerk who has a lock."""
        await asyncio.sleep(self.plan.sending / 8)
        script = self.board.script = await send_script(self.shop)
        self._note("info", f"a script sends {SCRIPT} orders at once: the limiter refuses {script.refused}")
        late = self.board.started + (self.plan.sending + self.plan.outage) / 4 - time.monotonic()
        await asyncio.sleep(max(late, 0))
        await self.toolkit_outage()
        self.board.stale_refused += await let_stand_still(self.files, self._environ, self._note)

    async def _order(self, count: int, seconds: float) -> None:
        orders = list(make_orders(count, self._rng, first=self._ordered + 1))
        self._ordered += count
        await send_orders(self.shop, orders, seconds=seconds, answered=self.board.accept)

    async def _finished(self) -> None:
        """Return when all orders are done and no job is left: a job that runs again would still change the counts."""
        while self.board.unfinished():
            await self._looked.wait()
        while any(queue.depth for queue in (await self._stats()).values()):
            await self._looked.wait()

    async def _consuming(self, deadline: float = 30.0) -> None:
        """Return when every worker process consumes payments; raise NotReady with the log after `deadline` seconds."""
        end = time.monotonic() + deadline
        while (await self._stats())["payments"].consumers < self.plan.processes:
            if self._workers.pid is None or time.monotonic() > end:
                raise NotReady(f"the workers do not consume:\n{self._workers.tail()}")
            await asyncio.sleep(LOOK_EVERY / 4)

    async def _open_toolkit(self) -> None:
        """Use each piece once, so that the first customer need not wait for the shop to open the store."""
        async with httpx2.AsyncClient(base_url=self.shop, timeout=30.0) as client:
            await ask_pieces(client)

    async def _stats(self) -> dict[str, QueueStats]:
        return await self._store.broker.stats([])

    async def _look(self) -> None:
        while True:
            self.board.look(time.monotonic())
            self._looked.set()
            self._looked.clear()
            await asyncio.sleep(LOOK_EVERY)

    async def _follow_breaker(self) -> None:
        """Show each change of the state that the workers share; they ring a bell in the store."""
        guards = self._store.guards
        changed = 0
        while True:
            with suppress(StoreError):  # a server that is away for a while
                payments = (await self._stats())["payments"]
                view, now = await guards.guards(), time.monotonic()
                waiting = payments.ready + payments.scheduled
                empty = payments.forecast.told() if payments.forecast.empty_in else ""
                at = now - self.board.started
                for kind, text in self.board.breaker.look(view, waiting=waiting, at=at, empty=empty):
                    self._note(kind, text)
                changed = await guards.guards_changed(changed, LOOK_EVERY)
                continue
            await asyncio.sleep(LOOK_EVERY)

    async def _follow_toolkit(self) -> None:
        """Show which piece of the toolkit is on which side, as the shop answers."""
        async with httpx2.AsyncClient(base_url=self.shop, timeout=5.0) as client:
            while True:
                with suppress(httpx2.TransportError):
                    pieces = await ask_pieces(client)
                    self.board.best_sellers = await ask_best_sellers(client) or self.board.best_sellers
                    for kind, text in self.board.toolkit.look(pieces, time.monotonic() - self.board.started):
                        self._note(kind, text)
                await asyncio.sleep(LOOK_EVERY)

    def _snapshot(self) -> Snapshot:
        return self.board.snapshot(time.monotonic())

    def _note(self, kind: Literal["info", "down", "up", "killed", "done", "failed"], text: str) -> None:
        self._show(self.board.note(kind, text, time.monotonic()))

    async def _clean(self) -> None:
        if not self.keep:
            shutil.rmtree(self.files.directory, ignore_errors=True)
            with suppress(StoreError):  # the ledger is complete: an unreachable server must not fail the run
                await forget(self._url)

    async def _clean_events(self) -> None:
        """Delete what the shop declared to RabbitMQ, unless dead letters there may say why the ledger fails."""
        if self.board.ledger is None or self.board.ledger.balances:
            with suppress(StoreError):
                await forget_events(self.plan.amqp_url, shop_app.registry.topology())
