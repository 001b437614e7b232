"""A broker without records, control and schedules: jobs run, and what needs a missing part is refused with the fix."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from msgspec import structs

from outlast import Breaker, ConfigurationError, Context, Outlast, Settings
from outlast.aio.clock import SystemClock
from outlast.brokers.memory import MemoryStore
from outlast.core.clock import Clock
from outlast.core.message import Holder
from outlast.core.policy import DEFAULTS
from outlast.core.settlement import ACCEPTED, Finish, Lost
from outlast.core.store.broker import Broker
from outlast.core.store.features import NEEDS_STORE, Features
from outlast.core.store.store import Store
from outlast.enqueue.handle import Handle
from outlast.worker import Worker

FIX = re.escape(NEEDS_STORE)
URL = "amqp://host"


class Transport:
    """The broker of a memory store and nothing else: no reads, no commands, no schedules, no leases to renew."""

    def __init__(self, clock: Clock) -> None:
        store = self.store = MemoryStore(clock, max_body=DEFAULTS.max_body)
        self.renewed: list[Holder] = []
        for name in dir(Broker):
            if not name.startswith("_") and name not in ("capabilities", "extend"):
                setattr(self, name, getattr(store, name))
        self.capabilities = structs.replace(store.capabilities, leases=False, shared=True)

    async def extend(self, holder: Holder, *, lease: float) -> list[Lost]:
        self.renewed.append(holder)
        return []


@pytest.fixture
def transport() -> Any:
    """A broker without the other parts."""
    return Transport(SystemClock())


@pytest.fixture
async def app(transport: Any) -> AsyncIterator[Outlast]:
    """An app on this broker."""
    app = Outlast("shop", settings=Settings(url="memory:"))
    app._wiring = app._wire(app.settings, SystemClock(), lambda settings, clock: Store(transport, url=URL))
    yield app
    await app.close()


async def test_a_message_is_kept_handed_out_and_settled(app: Outlast) -> None:
    @app.job(queue="mail")
    async def send(order: int) -> None: ...

    runtime, message = await app.runtime(), send.message(7)
    broker = runtime.store.broker
    assert await broker.publish([message]) == [ACCEPTED]
    (delivery,) = await broker.claim({"mail": 1}, limit=1, holder=Holder("a" * 32), lease=10, wait=0)
    assert delivery.message == message
    assert await broker.settle([Finish(delivery.fence, "succeeded")]) == []
    assert (await broker.stats(["mail"]))["mail"].depth == 0


async def test_a_worker_runs_what_is_enqueued_with_its_follow_ups(
    app: Outlast, transport: Any, caplog: pytest.LogCaptureFixture
) -> None:
    ran: list[int] = []
    stop = asyncio.Event()

    @app.job(queue="mail")
    async def send(ctx: Context, order: int) -> None:
        ran.append(order)
        if order:
            ctx.enqueue(send, order - 1)
        else:
            stop.set()

    handle = await send.enqueue(2)
    assert handle.created
    caplog.set_level(logging.WARNING, "outlast")
    await Worker(await app.runtime()).run(stop)
    assert ran == [2, 1, 0]
    assert caplog.records == []
    assert transport.renewed == []


async def test_the_health_of_a_broker_without_records_is_asked_of_the_broker(app: Outlast, transport: Any) -> None:
    await app._check_store()
    transport.stats = None
    with pytest.raises(TypeError):
        await app._check_store()


async def test_progress_is_refused_at_the_call_where_the_store_keeps_none(
    app: Outlast,
) -> None:
    refused: list[str] = []
    stop = asyncio.Event()

    @app.job(queue="mail")
    async def send(ctx: Context) -> None:
        try:
            ctx.progress(1)
        except ConfigurationError as error:
            refused.append(str(error))
        stop.set()

    runtime = await app.runtime()
    object.__setattr__(runtime, "features", Features(progress=False))
    await send.enqueue()
    await Worker(runtime).run(stop)
    assert refused == [f"ctx.progress: the store of memory: keeps no progress: {NEEDS_STORE}"]


async def test_an_option_that_the_store_does_not_offer_is_refused_at_the_call(app: Outlast) -> None:
    @app.job(queue="mail")
    async def send() -> None: ...

    object.__setattr__(app.composer, "features", Features(priorities=False))
    urgent = send.with_options(priority="high")
    with pytest.raises(ConfigurationError, match=rf"^job 'send': priority='high': the store of .*: {FIX}$"):
        urgent.message()
    await send.enqueue()


@pytest.mark.parametrize(
    ("call", "lack"),
    [
        (Handle.status, "keeps no records of jobs"),
        (Handle.record, "keeps no records of jobs"),
        (Handle.result, "keeps no records of jobs"),
        (Handle.cancel, "takes no commands"),
    ],
    ids=["status", "record", "result", "cancel"],
)
async def test_what_a_handle_cannot_do_is_refused_at_the_call(
    app: Outlast, call: Callable[[Handle[Any]], Awaitable[object]], lack: str
) -> None:
    @app.job(queue="mail")
    async def send() -> None: ...

    handle = await send.enqueue()
    with pytest.raises(ConfigurationError, match=rf"^the store of {URL} {lack} \(.*\): {FIX}$"):
        await call(handle)


async def test_a_schedule_is_refused_when_the_app_declares_itself(app: Outlast) -> None:
    @app.schedule("0 5 * * *")
    @app.job(queue="mail")
    async def nightly() -> None: ...

    refused = rf"^schedule 'nightly': the store of {URL} keeps no schedules: {FIX}$"
    with pytest.raises(ConfigurationError, match=refused):
        await app.runtime()


async def test_guards_that_it_cannot_share_are_named_once_when_the_store_is_opened(
    app: Outlast, transport: Any, caplog: pytest.LogCaptureFixture
) -> None:
    transport.capabilities = structs.replace(transport.capabilities, shared=False)
    app.guard("search", breaker=True)
    app.guard("own", breaker=Breaker(share=False))
    app.guard("hosts", breaker=True, key="host")
    app.guard("files", bulkhead=3)
    app.guard("payments", breaker=True)
    store = (await app.runtime()).store
    assert caplog.messages == []  # no other process can reach it
    await app.close()
    broker: Any = store.broker
    broker.capabilities = structs.replace(broker.capabilities, shared=True)
    await app.runtime()
    await app.close()
    await app.runtime()
    app.guard("mail", breaker=True)
    await app.runtime()
    first, late = caplog.messages
    assert first == (
        "2 guards (payments, search) are not shared between processes, the store of amqp://host cannot do it: each "
        "process opens and probes them by itself; add store='redis://...', or declare Breaker(share=False)"
    )
    assert late.startswith("1 guard (mail) is not shared")
