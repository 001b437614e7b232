"""What tracing costs: `python -m benchmarks.tracing`. Enqueues and a drain on SQLite, with and without, in turns.

off: turned off. auto: not traced, with OpenTelemetry's API imported, as FastAPI does. on: traced, to a collector in a
process of its own that drops what it gets; the time to send is in the drain, which ends with the worker. one in 100: so
many traces are sampled.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from statistics import median

__all__ = ["main"]

ROUNDS = 5
SINGLES, BATCH = 2_000, 20_000
MODES = ("off", "auto", "on", "one in 100")
Figures = dict[str, float]


def main() -> None:
    """Measure each mode five times, in turns, and print the medians."""
    found: dict[str, list[Figures]] = {mode: [] for mode in MODES}
    with collector() as port:
        for _ in range(ROUNDS):
            for mode in MODES:
                found[mode].append(measured(mode, port))
    print(f"{'':34}" + "".join(f"{mode:>12}" for mode in MODES))
    for name in found["off"][0]:
        print(f"{name:34}" + "".join(f"{median(each[name] for each in found[mode]):>12.1f}" for mode in MODES))


def measured(mode: str, port: int) -> Figures:
    """Measure one mode in a process of its own."""
    with tempfile.TemporaryDirectory(dir=os.environ.get("BENCH_FOLDER")) as folder:
        env = {**os.environ, "OUTLAST_URL": f"sqlite:{folder}/jobs.db", "OUTLAST_TRACES": "off"}
        if mode != "off":
            env["OUTLAST_TRACES"] = "auto"
        if mode in ("on", "one in 100"):
            env["OTEL_EXPORTER_OTLP_ENDPOINT"] = f"http://127.0.0.1:{port}"
        if mode == "one in 100":
            env |= {"OTEL_TRACES_SAMPLER": "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0.01"}
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.tracing", mode], env=env, check=True, stdout=subprocess.PIPE
        )
    figures: Figures = json.loads(done.stdout)
    return figures


async def measure(mode: str) -> Figures:
    """Return the figures of this process."""
    if mode == "auto":
        __import__("opentelemetry.trace")
    from outlast import Outlast
    from outlast.observe.tracing.metrics import DROPPED
    from outlast.worker import Worker

    shop = Outlast("bench")

    @shop.job
    async def work(number: int) -> None: ...

    figures: Figures = {}
    async with shop:
        await work.enqueue(0)  # what is imported at the first one
        began, cpu = time.perf_counter(), time.process_time()
        for number in range(SINGLES):
            await work.enqueue(number)
        figures["enqueue, us"] = (time.perf_counter() - began) / SINGLES * 1e6
        figures["enqueue, us of CPU"] = (time.process_time() - cpu) / SINGLES * 1e6
        cpu = time.process_time()
        await shop.enqueue_many(work.message(number) for number in range(BATCH))
        figures["one of enqueue_many, us of CPU"] = (time.process_time() - cpu) / BATCH * 1e6
        stop = asyncio.Event()
        runtime = await shop.runtime()
        began, cpu = time.perf_counter(), time.process_time()
        task = asyncio.create_task(Worker(runtime).run(stop))
        while (await runtime.store.broker.stats(["default"]))["default"].depth:
            await asyncio.sleep(0.01)
        seconds = time.perf_counter() - began
        stop.set()
        await task
        jobs = SINGLES + BATCH + 1
        figures["drain, jobs a second"] = jobs / seconds
        figures["drain, us of CPU a job"] = (time.process_time() - cpu) / jobs * 1e6
    figures["spans dropped"] = sum(each._meters.numbers[each.at] for each in DROPPED.values())
    return figures


class Handler(BaseHTTPRequestHandler):
    """Takes everything, keeps nothing."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as the base has it
        """Write nothing."""


@contextmanager
def collector() -> Iterator[int]:
    """Run a collector in a process of its own; give its port."""
    process = subprocess.Popen([sys.executable, "-m", "benchmarks.tracing", "collector"], stdout=subprocess.PIPE)
    assert process.stdout is not None
    try:
        yield int(process.stdout.readline())
    finally:
        process.kill()
        process.wait()


def serve() -> None:
    """Serve until this process is killed."""
    server = HTTPServer(("127.0.0.1", 0), Handler)
    print(server.server_address[1], flush=True)
    server.serve_forever()


if __name__ == "__main__":
    if sys.argv[1:] == ["collector"]:
        serve()
    elif len(sys.argv) > 1:
        print(json.dumps(asyncio.run(measure(sys.argv[1]))))
    else:
        main()
