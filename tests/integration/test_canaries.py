"""60 secrets go through the system: no log, line of JSON, metric, span, command or answer over HTTP has one."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Annotated, Any

import httpx2
import pytest
from fastapi import Depends, FastAPI, Request
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from outlast import InvalidArguments, Limiter, Outlast, Settings
from outlast.core.toolkit_errors import ToolkitAway
from outlast.fastapi import (
    IdempotencyMiddleware,
    RateLimitMiddleware,
    SessionMiddleware,
    current_session,
    install,
)
from outlast.meters import meters
from outlast.observe.log_events import log_events
from outlast.observe.logs import JsonLines
from outlast.worker.plain_log import PlainFormatter
from tests.support.apps.canary_app import canary, declare, leaks, spills
from tests.support.command import Project
from tests.support.working import record, working

MAIN = """from outlast import Outlast
from tests.support.apps.canary_app import declare

shop = Outlast("shop")
declare(shop)
"""


class Sinks:
    """What people and programs may see, by where it is."""

    def __init__(self) -> None:
        self.plain, self.lines = io.StringIO(), io.StringIO()
        self.spans = InMemorySpanExporter()
        self.answers: list[str] = []
        self.printed: list[str] = []

    def text(self) -> dict[str, str]:
        return {
            "log": self.plain.getvalue(),
            "log as JSON": self.lines.getvalue(),
            "metrics": "\n".join(str((each.metric.name, each.labels)) for each in meters.read()),
            "spans": "\n".join(each.to_json() for each in self.spans.get_finished_spans()),
            "commands": "\n".join(self.printed),
            "answers": "\n".join(self.answers),
        }


@pytest.fixture
def sinks(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sinks]:
    """The log of Outlast in plain text, all of it as JSON, and the spans of this process."""
    sinks, root, own = Sinks(), logging.getLogger(), logging.getLogger("outlast")
    plain, lines = logging.StreamHandler(sinks.plain), logging.StreamHandler(sinks.lines)
    plain.setFormatter(PlainFormatter("%(levelname)s %(name)s: %(message)s"))
    lines.setFormatter(JsonLines("shop"))
    own.addHandler(plain)
    root.addHandler(lines)
    before = root.level, own.level
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(sinks.spans))
    monkeypatch.setattr("opentelemetry.trace._TRACER_PROVIDER", provider)
    root.setLevel(logging.DEBUG)
    own.setLevel(logging.DEBUG)
    yield sinks
    root.removeHandler(lines)
    own.removeHandler(plain)
    root.setLevel(before[0])
    own.setLevel(before[1])


@pytest.fixture
async def project(tmp_path: Path) -> AsyncIterator[Project]:
    yield Project(tmp_path, MAIN)


def test_a_secret_that_is_shown_is_found() -> None:
    for text in (canary(7), canary(7).upper(), repr({"a": canary(7)}), canary(7).encode().hex()):
        assert leaks(f"x{text}x") == [7]


async def test_60_secrets_are_shown_nowhere(project: Project, sinks: Sinks) -> None:
    shop = Outlast("shop", settings=Settings(url=project.url))
    log_events(shop)
    jobs = declare(shop)
    async with shop:
        ids = await failed_runs(shop, jobs, project, sinks)
        await refused_arguments(jobs, sinks)
        await over_http(shop, ids, sinks)
    await wrong_addresses(project, sinks)
    lines_of_the_app()
    shown = {where: leaks(text) for where, text in sinks.text().items()}
    assert {where: found for where, found in shown.items() if found} == {}
    for line in sinks.lines.getvalue().splitlines():
        json.loads(line)
    told = sinks.text()
    assert told["log"].count("is dead") >= 26
    assert told["spans"].count('"name": "exception"') >= 26
    assert told["log as JSON"].count('"job.ended"') >= 26
    assert all(id_ in told["commands"] and id_ in told["answers"] for id_ in ids)


async def failed_runs(shop: Outlast, jobs: dict[str, Any], project: Project, sinks: Sinks) -> list[str]:
    """Canaries 0 to 25: redacted arguments of runs that fail, and quote them."""
    ids = []
    async with working(shop):
        for kind, args, headers in spills():
            made = jobs[kind].with_options(headers=headers)
            ids.append((await made.enqueue(*args)).id)
        for id_ in ids:
            found = await record(shop, id_)
            assert found.state == "dead"
    for arguments in (
        *(
            ("jobs", "list", "--limit", "100"),
            ("jobs", "list", "--limit", "100", "--json"),
            ("dead", "list"),
            ("doctor",),
            ("queues",),
            ("config",),
        ),
        *(("jobs", "show", id_, *rest) for id_ in ids[::6] for rest in ((), ("--json",))),
    ):
        ran = project.run(*arguments)
        sinks.printed.append(ran.out + ran.err)
    return ids


async def refused_arguments(jobs: dict[str, Any], sinks: Sinks) -> None:
    """Canaries 26 to 29: redacted arguments that are refused."""
    for number in (26, 27):
        with pytest.raises(InvalidArguments) as refused:
            await jobs["checked"].enqueue(canary(number))
        sinks.answers.append(str(refused.value))
    for number in (28, 29):
        with pytest.raises(InvalidArguments) as refused:
            await jobs["spill_text"].enqueue("plain", {"deep": canary(number)})
        sinks.answers.append(str(refused.value))


async def wrong_addresses(project: Project, sinks: Sinks) -> None:
    """Canaries 30 to 37: passwords in the URLs of servers that are away, or that cannot be read."""
    urls = {
        "OUTLAST_URL": f"redis://user:{canary(30)}@127.0.0.1:1/0?connect_timeout=0.2",
        "OUTLAST_SHOP_URL": f"reddis://:{canary(31)}@127.0.0.1:1",
        "OUTLAST_TOOLKIT_URL": f"redis://:{canary(32)}@127.0.0.1:1/0",
        "OUTLAST_AMQP_URL": f"amqp://user:{canary(33)}@127.0.0.1:1/x y",
        "OUTLAST_OBJECTS_URL": f"s3://key:{canary(34)}@bucket?region",
    }
    for name, url in urls.items():
        for arguments in (("doctor",), ("config",), ("queues",)):
            ran = project.run(*arguments, env={name: url})
            sinks.printed.append(ran.out + ran.err)
    for number, url in ((35, "redis://:{}@127.0.0.1:1/0"), (36, "rediss://a:{}@127.0.0.1:1")):
        shop = Outlast("away", settings=Settings(url="memory:", toolkit_url=url.format(canary(number))))
        with pytest.raises(ToolkitAway) as away:
            await shop.lock("stock", wait=0).__aenter__()
        sinks.answers.append(str(away.value))
        assert await shop.cache.get("k") is None
        await shop.close()
    sinks.answers.append(repr(Settings(url=f"redis://:{canary(37)}@host", amqp_url=f"amqp://a:{canary(37)}@host")))


async def over_http(shop: Outlast, ids: list[str], sinks: Sinks) -> None:
    """Canaries 38 to 49: ids of sessions, their values, idempotency keys, bodies, and keys of limits."""
    app = FastAPI()
    install(app, shop, authorize=lambda: True)
    limiter: Limiter = shop.limiter("4/day", name="api")
    app.add_middleware(IdempotencyMiddleware, shop=shop)
    app.add_middleware(SessionMiddleware, sessions=shop.sessions(), plain_http=True)
    app.add_middleware(RateLimitMiddleware, limiter=limiter, key=lambda request: request.headers.get("x-api-key"))

    @app.post("/orders")
    async def order(request: Request, session: Annotated[Any, Depends(current_session)]) -> dict[str, int]:
        session["card"] = (await request.json())["card"]
        return {"order": 7}

    @app.post("/fails")
    async def fails(request: Request) -> None:
        raise InvalidArguments("the order cannot be taken")

    transport = httpx2.ASGITransport(app=app, raise_app_exceptions=False)
    async with httpx2.AsyncClient(transport=transport, base_url="http://test") as client:

        async def ask(method: str, path: str, **given: Any) -> None:
            reply = await client.request(method, path, **given)
            sinks.answers.append(f"{reply.status_code} {reply.text} {dict(reply.headers).keys()}")

        for id_ in ids:
            await ask("GET", f"/outlast/jobs/{id_}", headers={"x-api-key": id_})
        for number in (38, 39, 40):
            headers = {
                "Idempotency-Key": f'"{canary(number)}"',
                "Authorization": f"Bearer {canary(number + 3)}",
                "Cookie": f"session={canary(number + 6)}{'A' * 25}",
                "x-api-key": canary(number + 9),
            }
            for body in ({"card": canary(number)}, {"card": canary(number)}, {"card": "other"}):
                await ask("POST", "/orders", headers=headers, json=body)
            await ask("POST", "/fails", headers={**headers, "Idempotency-Key": f'"{canary(number)}-2"'}, json={})
            await ask("POST", "/orders", headers={**headers, "Idempotency-Key": canary(number)}, json={})


def lines_of_the_app() -> None:
    """Canaries 50 to 59: what the app itself logs carelessly; its lines of JSON are masked."""
    log = logging.getLogger("shop.orders")
    log.warning("connecting to redis://user:%s@host:6379/0", canary(50))
    log.warning("login with password=%s failed", canary(51))
    log.warning("sent %s", {"user": "ann", "api_key": canary(52)})
    log.warning("headers: Authorization: Bearer %s", canary(53))
    log.warning("the provider refused Bearer %s", canary(54))
    log.warning("Cookie: theme=dark; sid=%s", canary(55))
    log.warning("order", extra={"password": canary(56), "access_token": canary(56)})
    log.warning("order", extra={"note": f"secret: {canary(57)}"})
    try:
        raise ConnectionError(f"https://example.com/?token={canary(58)}")
    except ConnectionError:
        log.exception("the webhook failed")
    log.warning("the body was %s", json.dumps({"client_secret": canary(59)}))
