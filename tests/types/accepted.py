"""What the checkers must accept, and the types that they must see."""

from __future__ import annotations

from collections.abc import MutableMapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Any, assert_type

import fastapi
from fastapi import FastAPI
from pydantic import BaseModel

from outlast import (
    Bound,
    Breaker,
    Bulkhead,
    CallNext,
    Context,
    Decision,
    Depends,
    EventExchange,
    Exponential,
    Fallback,
    Guard,
    Handle,
    JobEnded,
    JobEnqueued,
    JobRetried,
    JobRouter,
    Limiter,
    Outlast,
    PublishedEvent,
    Rate,
    Redacted,
    Retention,
    Retry,
    RetryBudget,
    Timeout,
    Unique,
    deadline,
    injected,
    remaining,
)
from outlast.core.events import Event
from outlast.core.message import Message
from outlast.fastapi import (
    ClientAddress,
    Idempotency,
    IdempotencyMiddleware,
    LoadShedder,
    RateLimitMiddleware,
    RequestClass,
    Shed,
    health_first,
    install,
    rate_limit,
    require_idempotency_key,
)

shop = Outlast("shop")
mail = JobRouter(queue="mail")


class Order(BaseModel):
    id: int
    email: str


@dataclass
class Line:
    sku: str
    amount: int


@shop.job
async def bare(number: int) -> str:
    return str(number)


@shop.job
async def bare_with_context(ctx: Context, number: int) -> str:
    return f"{ctx.id} {number}"


@shop.job
def plain(number: int, text: str = "") -> float:
    return number + len(text)


@shop.job(queue="mail", timeout=30, retry=Retry(attempts=5, backoff=Exponential(base=1, cap=300)))
async def send_receipt(ctx: Context, order_id: int, email: str) -> None:
    assert ctx.attempt


@shop.job(isolate="process", timeout="5m", key="name", unique="x:{name}", unique_for=60)
def plain_with_context(ctx: Context, name: Annotated[str, Redacted]) -> list[int]:
    return [ctx.attempt, len(name)]


@mail.job(unique=True, unique_until="start", priority="low", expires="1h")
async def models(order: Order, lines: list[Line]) -> Order:
    return order


def tenant(name: str) -> str | None:
    return name or None


@shop.job(timeout=None, retry=None, expires=timedelta(hours=1), key=tenant, on_conflict="raise", unique=True)
def with_none_and_a_callable(name: str) -> int:
    return len(name)


def with_language(args: dict[str, Any]) -> dict[str, Any]:
    return {**args, "language": "en"}


@mail.job(version=2, upgrades={1: with_language}, aliases=("former",))
async def versioned(order_id: int, language: str) -> str:
    return language


@shop.schedule("0 5 * * 1-5", tz="Europe/Berlin", misfire="latest")
@shop.schedule(every="5m", name="often", overlap="skip")
@shop.job
async def by_the_clock() -> int:
    return 1


@mail.job(queue="mail")
@mail.schedule("@daily", kwargs={"number": 7})
def nightly(number: int) -> str:
    return str(number)


async def use() -> None:
    assert_type(await by_the_clock.enqueue(), Handle[int])
    assert_type(await nightly.enqueue(1), Handle[str])
    assert_type(await (await versioned.enqueue(7, "de")).result(), str)
    assert_type(await with_none_and_a_callable.enqueue("x"), Handle[int])
    assert_type(await bare.enqueue(1), Handle[str])
    assert_type(await bare.enqueue(number=1), Handle[str])
    assert_type(await (await bare.enqueue(1)).result(), str)
    assert_type(await bare(1), str)
    assert_type(await bare_with_context(1), str)
    assert_type(await bare_with_context.enqueue(1), Handle[str])
    assert_type(await plain(1), float)
    assert_type(plain.enqueue_sync(1, text="x"), Handle[float])
    assert_type(await send_receipt(7, "a@b.c"), None)
    assert_type(send_receipt.message(7, email="a@b.c"), Message)
    assert_type(await (await plain_with_context.enqueue("x")).result(timeout=1), list[int])
    assert_type(await (await models.enqueue(Order(id=1, email="x"), [Line("a", 1)])).result(), Order)
    later = send_receipt.with_options(delay=60, priority="high", unique="receipt:7", id="order-7")
    assert_type(await later.enqueue(7, "a@b.c"), Handle[None])
    await shop.enqueue_many(send_receipt.message(number, "x") for number in range(3))


payments = shop.guard("payments", timeout="2s", retry=3, budget=0.1, breaker=True, bulkhead=20, key="number")
alone = Guard(
    "alone", timeout=Timeout(2), retry=Retry(attempts=3), budget=None, breaker=Breaker(), fallback=Fallback(0)
)


@payments
async def charge(number: int, *, currency: str = "EUR") -> str:
    return currency


@alone
def read(path: str) -> bytes:
    return path.encode()


async def guarded() -> None:
    assert_type(await charge(7, currency="USD"), str)
    assert_type(read("x"), bytes)
    assert_type(await payments.call(charge, 7, currency="USD"), str)
    assert_type(await alone.call(read, "x"), bytes)
    assert_type(alone.call_sync(read, "x"), bytes)
    assert_type(await payments.of("a").call(charge, 7), str)
    with deadline("2s"):
        assert_type(remaining(), float | None)
        async with payments.of("a"), alone:
            pass
        with alone:
            await bare.with_options(expires=remaining()).enqueue(1)


@shop.job(inherit_deadline=True)
async def inherits(ctx: Context) -> float | None:
    return ctx.deadline


def takes_any_bound(job: Bound[[int], str]) -> Handle[str]:
    return job.enqueue_sync(1)


@shop.job
async def follows(ctx: Context) -> None:
    ctx.enqueue(send_receipt, 7, "a@b.c")
    ctx.enqueue(bare.with_options(delay=1), number=2)
    published = await ctx.publish(
        shop.exchange("orders"), "paid", Order(id=1, email="x"), headers={"n": 1}, expires="1h"
    )
    assert_type(published, PublishedEvent)
    assert_type(ctx.publish_sync(mail.exchange("orders"), "paid", 7, id="7"), PublishedEvent)


def who() -> bool:
    return True


install(FastAPI(), shop, authorize=who, full_status=429, deadline_header="X-Deadline-Seconds")


def request_class(scope: MutableMapping[str, Any]) -> RequestClass:
    return "background" if scope["path"] == "/reports" else health_first(scope)


shed = Shed(max_in_flight=100, max_lag="200ms", classes=request_class)
assert_type(shed.max_lag, float | None)
install(FastAPI(), shop, shed=shed)


def user_of(scope: MutableMapping[str, Any]) -> str:
    return str(scope["user"])


repeats = Idempotency(ttl="24h", principal=user_of, stored=lambda status: status < 500, headers=["X-Order"])
install(FastAPI(), shop, idempotency=repeats)
IdempotencyMiddleware(FastAPI(), shop, repeats)


async def effect(number: int, *, note: str = "") -> str:
    return note * number


@shop.job
async def with_effects(ctx: Context, number: int) -> None:
    await ctx.once("effect", effect, number, note="a")
    ctx.once_sync("plain", print, number)


async def ordered(key: Annotated[str, fastapi.Depends(require_idempotency_key)]) -> str:
    return key


FastAPI().add_middleware(LoadShedder, shed=Shed(max_lag=timedelta(seconds=1), classes=lambda scope: "critical"))
LoadShedder(FastAPI(), shed)
with shop.testing() as t:
    t.assert_enqueued(send_receipt, order_id=7)
    t.assert_enqueued("bare", number=1)

Retry(within="1h", give_up_on=KeyError, retry_on=[OSError], backoff=Exponential(base="1s", cap=timedelta(minutes=5)))
assert_type(Retry(within=timedelta(hours=1)).within, float | None)
assert_type(Timeout("2s").seconds, float)
Breaker(window=100, slow="2s", open_for=timedelta(seconds=5), failures=OSError, ignore=[KeyError])
Breaker(window="30s", failures=lambda result: result is None, failure_rate=None, slow_rate=0.5)
Bulkhead(20, max_wait="1s")
Fallback({}, on=OSError)
Fallback(len)
RetryBudget(share=0.2)
shop.queue("charges", needs=[shop.guard("bank", breaker=True), "files"])
shop.queue("mail", retention=Retention(record_ttl="1h", dead_ttl=timedelta(days=1)))
Unique("key", seconds="5m")


def text_of(ctx: Context) -> str:
    return ctx.headers.get("text", "")


@shop.job
async def depends(
    ctx: Context,
    number: int,
    *,
    text: Annotated[str, Depends(text_of)] = injected,
    web: Annotated[str, fastapi.Depends(text_of)] = injected,
) -> str:
    return text * number


@shop.job(queue="charges", needs=["bank", Guard("files")])
async def needs_guards() -> None: ...


@shop.job(queue="mail")
def depends_plainly(number: int, *, text: Annotated[str, Depends(text_of)] = injected) -> str:
    return text * number


async def use_dependencies() -> None:
    assert_type(await depends.enqueue(1), Handle[str])
    assert_type(await depends(1, text="mine"), str)
    assert_type(await depends_plainly(1), str)
    assert_type(await depends.with_options(headers={"text": "a"}).enqueue(number=1), Handle[str])


@shop.middleware
@mail.middleware
async def around(ctx: Context, call_next: CallNext) -> Any:
    return await call_next()


@shop.observe
def hears_all(event: Event) -> None: ...


@shop.observe(JobEnded)
def hears_ends(event: JobEnded) -> None:
    assert_type(event.seconds, float)


@shop.observe(JobEnded, JobRetried)
def hears_two(event: JobEnded | JobRetried) -> None:
    assert_type(event.kind, str)


@shop.observe(JobEnded, JobRetried, JobEnqueued)
def hears_three(event: JobEnded | JobRetried | JobEnqueued) -> None: ...


heard: list[Event] = []
shop.observe(heard.append)
shop.dependency_overrides[text_of] = lambda: "fake"

orders = shop.exchange("orders", type="headers", unroutable="keep")
news = mail.exchange("news")


@shop.job(queue="billing", on=[orders.binding(headers={"vip": True, "n": 1}, match="any"), news.binding("order.*")])
async def bill(ctx: Context, order: Order, copies: int = 1) -> int:
    return order.id


@mail.job(on=news.binding("order.#"))
def hears(event: dict[str, Any]) -> None: ...


async def publish() -> None:
    assert_type(orders, EventExchange)
    event = await orders.publish("", Order(id=1, email="a@b.c"), headers={"vip": True}, id="e1", expires="1h")
    assert_type(event, PublishedEvent)
    assert_type(event.id, str)
    assert_type(event.copies["billing"], Handle[Any])
    assert_type(await orders.publish_many([orders.event("", 1), orders.event("", 2)]), list[PublishedEvent])
    assert_type(orders.publish_sync("", None), PublishedEvent)
    await bill.enqueue(Order(id=1, email="a@b.c"))


limiter = shop.limiter("10/second, 1000/day", name="api", algorithm="sliding", count_refused=True, closed=True)
assert_type(limiter, Limiter)
assert_type(shop.limiter(["5/minute", Rate(9, 60)], name="more"), Limiter)


async def take() -> None:
    assert_type(await limiter.take("user:7", cost=2), Decision)
    assert_type(limiter.take_sync("user:7"), Decision)
    assert_type((await limiter.take("user:7")).retry_after, float)


api = FastAPI()
api.add_middleware(RateLimitMiddleware, limiter=limiter, client=ClientAddress(hops=1), exempt=lambda _: False)
limited = fastapi.Depends(rate_limit(limiter, client=ClientAddress(networks=["10.0.0.0/8"]), cost=3))
