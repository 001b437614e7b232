"""One trace: from an HTTP request through the retries of its job to a follow-up, by real processes and OTLP."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import psutil
import pytest

from tests.support.collector import Collector, Received
from tests.support.command import ROOT, Project
from tests.support.family import end_all
from tests.support.polling import until
from tests.support.served import Client

MAIN = """
from fastapi import FastAPI
from outlast import Context, Exponential, Outlast, Retry
from outlast.fastapi import install

shop = Outlast("shop")
app = FastAPI()

@shop.job(queue="mail", retry=Retry(attempts=4, backoff=Exponential(base=0.01, cap=0.02)))
async def send_receipt(ctx: Context, order: int) -> None:
    if ctx.attempt < 4:
        raise ValueError(f"no connection, attempt {ctx.attempt}")
    ctx.enqueue(pack, order)

@shop.job(queue="packing")
async def pack(order: int) -> None: ...

install(app, shop)

@app.post("/orders/{order}", status_code=202)
HANDLER
SETUP
"""
ASYNC = """async def order(order: int) -> dict[str, str]:
    return {"job": (await send_receipt.enqueue(order)).id}
"""
BLOCKING = """def order(order: int) -> dict[str, str]:
    return {"job": send_receipt.enqueue_sync(order).id}
"""
API = """
import socket
from pathlib import Path
import uvicorn
from main import app
listener = socket.socket()
listener.bind(("127.0.0.1", 0))
listener.listen()
Path("port.part").write_text(str(listener.getsockname()[1]))
Path("port.part").rename("port")
uvicorn.Server(uvicorn.Config(app, log_config=None)).run([listener])
"""
PROVIDER = """
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
provider = TracerProvider(resource=Resource({"service.name": "the app's own"}))
provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
trace.set_tracer_provider(provider)
"""
CONTRIB = """
from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
FastAPIInstrumentor.instrument_app(app)
"""
SETUPS = {
    "contrib, the app's own provider": (ASYNC, PROVIDER + CONTRIB, {}, "the app's own"),
    "contrib, a blocking endpoint": (BLOCKING, PROVIDER + CONTRIB, {}, "the app's own"),
    "FastAPI's own spans": (ASYNC, "", {"FASTAPI_OTEL_AUTO_CONFIGURE": "true"}, "shop"),
}


@asynccontextmanager
async def serving(project: Project, environ: dict[str, str]) -> AsyncIterator[Client]:
    """Serve the project's API as a process of its own within the block; a connection to it."""
    project.write("api.py", API)
    with (project.folder / "api.log").open("ab") as sink:
        process = subprocess.Popen(
            [sys.executable, "api.py"],
            cwd=project.folder,
            env={**project._environ(environ), "PYTHONPATH": str(ROOT)},
            stdout=sink,
            stderr=sink,
        )
    everyone = psutil.Process(process.pid)
    try:
        port = project.folder / "port"
        await until(port.exists, "the API listens")
        client = Client(*await asyncio.open_connection("127.0.0.1", int(port.read_text())))
        yield client
        client.vanish()
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) in (0, -signal.SIGTERM), (project.folder / "api.log").read_text()
    finally:
        end_all(process, everyone)


@pytest.mark.parametrize("setup", SETUPS)
async def test_a_trace_leads_from_the_request_to_the_third_retry_and_the_follow_up(
    setup: str, received: Collector, tmp_path: Path
) -> None:
    handler, module, variables, service = SETUPS[setup]
    project = Project(tmp_path, MAIN.replace("HANDLER", handler).replace("SETUP", module))
    environ = {**received.environ, **variables}
    async with serving(project, environ) as client:
        client.begin("/orders/7", "content-length: 0", method="POST")
        assert (await client.answer()).status == 202
        with project.running("worker", "main:shop", "--processes", "1", env=environ):
            await received.got("process packing")
    spans = received.spans
    (request,) = [each for each in spans if each.kind == "server"]
    (sent,) = received.named("send mail")
    runs = sorted(received.named("process mail"), key=lambda each: each.attributes["outlast.job.attempt"])
    (created,) = received.named("create packing")
    (packed,) = received.named("process packing")
    own = [sent, *runs, created, packed]
    assert {each.trace for each in own} == {request.trace}
    assert request.id in ancestors(sent, spans)
    assert (sent.kind, created.kind) == ("producer", "producer")
    assert [each.kind for each in (*runs, packed)] == ["consumer"] * 5
    assert [each.parent for each in runs] == [sent.id] * 4
    assert created.parent == runs[-1].id
    assert packed.parent == created.id
    assert all(each.links == ((sent.trace, sent.id),) for each in runs)
    assert packed.links == ((created.trace, created.id),)
    assert [each.attributes["outlast.job.outcome"] for each in runs] == ["retried"] * 3 + ["succeeded"]
    assert [each.failed for each in runs] == [True] * 3 + [False]
    assert {each.service for each in (*runs, packed)} == {service}
    assert [each for each in spans if each.scope == "outlast"] == [each for each in spans if each in own]


def ancestors(span: Received, spans: list[Received]) -> list[str]:
    """The ids of the spans above a span, from the nearest on."""
    by_id, found = {each.id: each for each in spans}, []
    while span.parent:
        found.append(span.parent)
        if span.parent not in by_id:
            break
        span = by_id[span.parent]
    return found
