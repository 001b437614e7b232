"""The context of a trace on servers: through Redis, over RabbitMQ as a transport, over a bridge, through the spool."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from outlast import Constant, Context, Outlast, Retry
from tests.support.collector import Collector
from tests.support.servers.rabbitmq_server import shared_rabbit
from tests.support.stores import namespace_of, redis_url
from tests.support.tracing import traced_by
from tests.support.working import new_app, working


@pytest.fixture(params=["redis", "rabbitmq", "bridge"])
def app(request: pytest.FixtureRequest, tmp_path: Path, received: Collector) -> Iterator[Outlast]:
    """A traced app, without jobs."""
    with traced_by(received):
        if request.param == "redis":
            yield new_app(f"{redis_url()}?namespace={namespace_of(tmp_path)}")
            return
        with shared_rabbit().vhost() as vhost:
            url = shared_rabbit().url_of(vhost)
            yield new_app(url) if request.param == "rabbitmq" else new_app(f"sqlite:{tmp_path}/jobs.db", amqp_url=url)


async def test_a_retry_a_follow_up_and_an_event_are_in_the_trace(app: Outlast, received: Collector) -> None:
    ended = asyncio.Event()
    has_exchanges = not app.settings.url.startswith("amqp:")
    orders = app.exchange("orders") if has_exchanges else None

    @app.job(queue="mail", retry=Retry(attempts=2, backoff=Constant(0)))
    async def send(ctx: Context) -> None:
        if ctx.attempt < 2:
            raise ValueError("once")
        ctx.enqueue(pack)

    @app.job(queue="packing")
    async def pack() -> None:
        if orders is None:
            ended.set()
        else:
            await orders.publish("paid", {"order": 7})

    if orders is not None:

        @app.job(queue="told", on=orders.binding("#"))
        async def told(event: dict[str, int]) -> None:
            ended.set()

    async with app, working(app):
        await send.enqueue()
        await asyncio.wait_for(ended.wait(), 60)
    (sent,) = received.named("send mail")
    first, second = received.named("process mail")
    (created,) = received.named("create packing")
    (packed,) = received.named("process packing")
    assert {first.parent, second.parent} == {sent.id}
    assert created.parent == second.id
    assert packed.parent == created.id
    if has_exchanges:
        (published,) = received.named("publish orders")
        (run,) = received.named("process told")
        assert published.parent == packed.id
        assert run.parent == published.id
        assert run.links == ((published.trace, published.id),)
    assert len({each.trace for each in received.spans}) == 1
