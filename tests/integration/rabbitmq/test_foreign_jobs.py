"""The programs of docs/wire-format.md put a job into our queue, and another client reads our dead letter."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from outlast.core.settlement import Finish
from tests.stores.rabbitmq.bench import Bench
from tests.support.jobs import failure
from tests.support.node_client import run_node
from tests.support.servers.rabbitmq_server import shared_rabbit

PAGE = Path(__file__).parents[3] / "docs" / "wire-format.md"
SHOWN = "amqp://shop:password@rabbit.internal/shop"


def program(fence: str, url: str) -> str:
    """Return the program of the page, for this server."""
    found = re.search(rf"```{fence}\n(.*?amqp://.*?)```", PAGE.read_text(), re.DOTALL)
    assert found is not None
    assert SHOWN in found[1]
    return found[1].replace(SHOWN, url)


def by_node(folder: Path, url: str) -> None:
    file = folder / "send.js"
    file.write_text(program("js", url))
    run_node(str(file))


def by_pika(folder: Path, url: str) -> None:
    file = folder / "send.py"
    file.write_text(program("text", url))
    subprocess.run([sys.executable, str(file)], check=True, timeout=60)


@pytest.mark.parametrize("send", [by_node, by_pika])
async def test_a_job_of_another_client_runs_and_it_reads_the_dead_letter(
    send: Callable[[Path, str], None], tmp_path: Path
) -> None:
    with shared_rabbit().vhost() as vhost:
        bench = Bench(shared_rabbit().url_of(vhost))
        await bench.open("mail")
        await asyncio.to_thread(send, tmp_path, bench.url)
        (job,) = await bench.claim(1, "mail")
        assert (job.message.kind, bench.args(job)) == ("send_receipt", {"order_id": 7, "email": "a@b.c"})
        assert job.message.id.startswith("mail.")
        await bench.settle(Finish(job.fence, "dead", "gave-up", error=failure(1)))
        letter = json.loads(await asyncio.to_thread(run_node, "read_message.js", bench.url, "mail.dead"))
        assert "gave-up" in json.dumps(letter)
        await bench.close()
