"""Several API processes behind one port: each scrape reaches one, so that none shows figures of processes."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest

from tests.support.polling import until
from tests.support.scrapes import Scrape

ROOT = Path(__file__).parents[3]


@contextmanager
def server(folder: Path, *options: str) -> Iterator[str]:
    """Run uvicorn on a socket of ours; yield the address."""
    environ = {**os.environ, "OUTLAST_SHOP_URL": f"sqlite:{folder}/shop.db", "PYTHONPATH": str(ROOT)}
    with socket.create_server(("127.0.0.1", 0)) as listener:
        command = [sys.executable, "-m", "uvicorn", "tests.support.apps.metrics_api:app", "--log-level=warning"]
        command += ["--fd", str(listener.fileno()), *options]
        with subprocess.Popen(command, env=environ, cwd=folder, pass_fds=[listener.fileno()]) as running:
            try:
                yield f"http://127.0.0.1:{listener.getsockname()[1]}"
            finally:
                running.send_signal(signal.SIGTERM)
                running.wait(60)


@pytest.mark.parametrize(("workers", "alone"), [(1, True), (2, False)])
async def test_the_figures_of_processes_are_shown_by_one_alone(tmp_path: Path, workers: int, alone: bool) -> None:
    with server(tmp_path, "--workers", str(workers)) as address:
        async with httpx2.AsyncClient(base_url=address, timeout=60) as client:
            found: list[Scrape] = []

            async def told() -> bool:
                try:
                    assert (await client.post("/orders/7")).status_code == 202
                    found.append(Scrape((await client.get("/metrics")).text))
                except httpx2.TransportError:
                    return False
                return found[-1].value("outlast_process_figures") == float(alone)

            await until(told, "a process tells how many serve")
            assert bool(found[-1].having("outlast_http_request_seconds_count")) is alone
            assert found[-1].having("outlast_queue_depth") == [{"app": "shop", "queue": "mail"}]
