"""Tracing in processes that are replaced, stopped and forked: each has its own provider, and loses no span quietly."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from outlast import Outlast
from outlast.settings import Settings
from tests.support import prepared
from tests.support.collector import Collector
from tests.support.command import Project
from tests.support.polling import until

MAIN = """
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from outlast import Outlast

shop = Outlast("shop")

def set_provider():
    provider = TracerProvider()
    # Nothing is sent before somebody flushes.
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(), schedule_delay_millis=3_600_000))
    trace.set_tracer_provider(provider)

def inner():
    with trace.get_tracer("handler").start_as_current_span("inner"):
        pass

@shop.job
async def on_loop() -> None: inner()

@shop.job(isolate="process")
def isolated() -> None: inner()
"""
AT_IMPORT = MAIN + "\nset_provider()\n"
IN_A_HOOK = MAIN + "\n@shop.on_start\nasync def begin() -> None: set_provider()\n"


async def run_jobs(project: Project, kind: str, number: int) -> None:
    """Enqueue jobs, without a trace, and wait until they have succeeded."""
    made = Outlast("shop", settings=Settings(url=project.url, traces="off"))

    @made.job
    async def on_loop() -> None: ...

    @made.job
    def isolated() -> None: ...

    jobs = {"on_loop": on_loop, "isolated": isolated}
    async with made:
        handles = [await jobs[kind].enqueue() for _ in range(number)]
        for each in handles:
            await each.result(timeout=90)


@pytest.mark.parametrize("main", [MAIN, AT_IMPORT, IN_A_HOOK], ids=["none", "at import", "in a hook"])
@pytest.mark.parametrize("kind", ["on_loop", "isolated"])
async def test_a_worker_that_stops_has_sent_the_spans_of_its_handlers(
    main: str, kind: str, received: Collector, tmp_path: Path
) -> None:
    """By the way that Outlast makes, or by that of the app: in the worker, and in its child processes."""
    project = Project(tmp_path, main)
    environ = {**received.environ, "OTEL_BSP_SCHEDULE_DELAY": "3600000"}
    with project.running("worker", "main:shop", "--processes", "1", env=environ) as worker:
        await run_jobs(project, kind, 5)
        assert received.spans == []
        worker.process.send_signal(signal.SIGTERM)
        await until(lambda: worker.process.poll() is not None, "it has stopped")
    runs = received.named("process default")
    assert len(runs) == 5
    assert {each.parent for each in received.named("inner")} == {each.id for each in runs}
    assert len(received.named("inner")) == 5


async def test_worker_processes_that_are_replaced_lose_no_span(received: Collector, tmp_path: Path) -> None:
    project = Project(tmp_path, MAIN)
    environ = {**received.environ, "OTEL_BSP_SCHEDULE_DELAY": "3600000", "OUTLAST_RECYCLE_JOBS": "2"}
    with project.running("worker", "main:shop", "--processes", "1", env=environ) as worker:
        await run_jobs(project, "on_loop", 4)
        await until(lambda: "is replaced after 4 jobs" in worker.text, "it is replaced")
        await received.got("inner", 4)  # nothing but the end of the process sends them
        await run_jobs(project, "on_loop", 1)
        worker.process.send_signal(signal.SIGTERM)
        await until(lambda: worker.process.poll() is not None, "it has stopped")
    assert len(received.named("process default")) == len(received.named("inner")) == 5


FORKS = """
import asyncio, os
from outlast import Outlast
from outlast.settings import Settings
shop = Outlast("shop", settings=Settings(url="sqlite:forks.db"))
@shop.job
async def work() -> None: ...
async def enqueue() -> None:
    async with shop:
        await work.enqueue()
asyncio.run(enqueue())
pid = os.fork()
asyncio.run(enqueue())
if pid:
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
"""


async def test_a_fork_of_a_process_that_traces_has_a_provider_of_its_own(received: Collector, tmp_path: Path) -> None:
    """The thread that exports is the parent's: what the child gave to its queue would never be sent."""
    (tmp_path / "forks.py").write_text(FORKS)
    environ = {**os.environ, **received.environ, "OTEL_BSP_SCHEDULE_DELAY": "3600000"}
    done = prepared.run(["forks"], cwd=tmp_path, env={**environ, "PYTHONPATH": str(Path(__file__).parents[3])})
    assert done.returncode == 0, done.stderr
    sent = received.named("send default")
    assert len(sent) == len({each.id for each in sent}) == 3


QUIET = """
import asyncio, sys
from outlast import Outlast
from outlast.settings import Settings
from outlast.worker import Worker
shop = Outlast("shop", settings=Settings(url="sqlite:quiet.db", TRACES))
@shop.job
async def work() -> None: ...
async def main() -> None:
    async with shop:
        stop = asyncio.Event()
        worker = asyncio.create_task(Worker(await shop.runtime()).run(stop))
        await (await work.enqueue()).result(timeout=60)
        stop.set()
        await worker
asyncio.run(main())
assert not [each for each in sys.modules if each.startswith("opentelemetry")]
"""


@pytest.mark.parametrize(
    ("traces", "extra"),
    [
        ("off", {"OTEL_EXPORTER_OTLP_ENDPOINT": "there"}),
        ("auto", {}),
        ("auto", {"OTEL_EXPORTER_OTLP_ENDPOINT": "there", "OTEL_SDK_DISABLED": "true"}),
        ("auto", {"OTEL_EXPORTER_OTLP_ENDPOINT": "there", "OTEL_TRACES_EXPORTER": "none"}),
    ],
)
async def test_a_process_that_is_not_traced_imports_nothing_of_it(
    traces: str, extra: dict[str, str], received: Collector, tmp_path: Path
) -> None:
    (tmp_path / "quiet.py").write_text(QUIET.replace("TRACES", f"traces={traces!r}"))
    extra = {name: received.environ[name] if value == "there" else value for name, value in extra.items()}
    environ = {**os.environ, **extra, "PYTHONPATH": str(Path(__file__).parents[3])}
    done = prepared.run(["quiet"], cwd=tmp_path, env=environ)
    assert done.returncode == 0, done.stderr
    assert received.spans == []
