"""What the checkers must refuse: each line carries the error, and an ignore that is not needed is an error itself."""

from __future__ import annotations

from outlast import Context, JobEnded, JobRetried, Outlast

shop = Outlast("shop")


@shop.job
async def send(ctx: Context, order_id: int, email: str) -> int:
    return order_id


@shop.job(queue="slow")
def plain(path: str) -> str:
    return path


async def wrong() -> None:
    await send.enqueue("7", "a@b.c")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await send.enqueue(7)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await send.enqueue(7, "a", 3)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await send.enqueue(7, mail="a")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    send.message(order_id=7, email=None)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    plain.enqueue_sync(1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await plain(1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await plain.with_options(delay=1).enqueue(1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    plain.with_options(later=1)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    plain.with_options(priority="urgent")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    text: str = await (await send.enqueue(7, "a")).result()  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
    print(text)


@shop.job
async def follows(ctx: Context) -> None:
    ctx.enqueue(send, "7", "a@b.c")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await ctx.publish(send, "paid", 7)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await ctx.publish(shop.exchange("orders"), "paid", 7, idd="7")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


@shop.job(queue=7)  # type: ignore[call-overload, untyped-decorator]  # pyright: ignore[reportArgumentType]
async def misdeclared(number: int) -> None: ...


@shop.job(tiemout=7)  # type: ignore[call-overload, untyped-decorator]  # pyright: ignore[reportCallIssue, reportUntypedFunctionDecorator]
async def misspelt(number: int) -> None: ...


@shop.job(priority="urgent")  # type: ignore[call-overload, untyped-decorator]  # pyright: ignore[reportArgumentType]
async def urgent(number: int) -> None: ...


async def no_next(ctx: Context) -> None: ...


shop.middleware(no_next)  # type: ignore[type-var]  # pyright: ignore[reportArgumentType]


@shop.observe(JobEnded)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
def hears_another(event: JobRetried) -> None: ...


plain.with_options(headers={"a": 1})  # type: ignore[dict-item]  # pyright: ignore[reportArgumentType]

guard = shop.guard("payments", timeout=2)
shop.guard("a", bulkhead="many")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
shop.queue("q", needs=[7])  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]
shop.guard("a", fallback=7)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


@guard
async def charge(number: int) -> str:
    return str(number)


@guard
def read(path: str) -> bytes:
    return path.encode()


async def wrongly_guarded() -> None:
    await charge("7")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    read(7)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await guard.call(read, 7)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]
    await guard.call(read)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
    number: int = await guard.call(charge, 7)  # type: ignore[call-overload]  # pyright: ignore[reportAssignmentType]
    print(number)


orders = shop.exchange("orders")
shop.exchange("other", type="queue")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
orders.binding(7)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


@shop.job(on="orders")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
async def misbound(number: int) -> None: ...


async def wrong_events() -> None:
    await orders.publish("key", 1, delay=1)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await orders.publish("key", 1, headers={"a": []})  # type: ignore[dict-item]  # pyright: ignore[reportArgumentType]


shop.limiter("1/s", name="api", algorithm="leaky")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
shop.limiter("1/s")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
shop.limiter(10, name="api")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def pays(number: int) -> None: ...


@shop.job
async def wrong_effects(ctx: Context) -> None:
    await ctx.once("pay", pays, "7")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await ctx.once(7, pays, 7)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    ctx.once_sync("pay", pays)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
